// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {Rewards} from "../src/Rewards.sol";
import {IRewards} from "../src/interfaces/IRewards.sol";
import {RewardKit, ToldOracle} from "./kit/RewardKit.sol";

contract RewardBurningTest is RewardKit {
    bytes32 private constant WORK = keccak256("a job");

    function setUp() public override {
        super.setUp();
        oracle = new ToldOracle();
        rewards = deploy(burnTerms());
    }

    function burn(uint128 nanoUsd) private returns (uint256) {
        vm.prank(PAYER);
        return rewards.burn(nanoUsd, type(uint256).max, WORK);
    }

    function test_workIsPaidByBurningItsWorthAtTheWeightedPrice() public {
        steady(2 * NANO);
        eq(rewards.twap(), 2 * NANO, "two dollars");
        eq(burn(30 * NANO), 15e18, "fifteen tokens for thirty dollars");
        eq(rewards.balanceOf(PAYER), GENESIS - 15e18, "of the payer's");
        eq(rewards.totalSupply(), GENESIS - 15e18, "gone");
        eq(rewards.burnedIn(0), 30 * NANO, "written down in dollars");
        vm.prank(PAYER);
        refuses(abi.encodeWithSelector(IRewards.BurnAboveMost.selector, 15e18, 15e18 - 1));
        rewards.burn(30 * NANO, 15e18 - 1, WORK);
        vm.prank(PAYER);
        refuses(abi.encodeWithSelector(IRewards.ZeroAmount.selector));
        rewards.burn(0, 0, WORK);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, stranger, 0, 15e18));
        rewards.burn(30 * NANO, type(uint256).max, WORK);
    }

    function test_anEpochMintsTheWorthOfWhatWasBurnedInItLessTheFee() public {
        steady(2 * NANO);
        burn(30 * NANO);
        over(0);
        steady(3 * NANO);
        eq(rewards.mintable(0), 9.5e18, "28.50 dollars' worth, at three dollars");
        eq(rewards.mintable(1), 0, "nothing was burned since");
        (bytes32 root, bytes32[] memory proof) = pair(provider, 9.5e18 - 1);
        vm.prank(SETTLER);
        refuses(abi.encodeWithSelector(IRewards.AboveSchedule.selector, uint32(0), uint128(9.5e18 + 1), uint128(9.5e18)));
        rewards.postRoot(0, root, 9.5e18 + 1);
        post(0, root, 9.5e18);
        counts();
        eq(rewards.claim(provider, 9.5e18 - 1, proof), 9.5e18 - 1, "minted");
    }

    function test_theScheduleCapsWhatIsMinted() public {
        steady(2 * NANO);
        burn(100_000 * NANO);
        over(0);
        steady(NANO / 100);
        eq(rewards.mintable(0), EMISSION, "and no more");
    }

    function test_theFirstPricesTakeAWindow() public {
        told(2 * NANO);
        refuses(paused(IRewards.Breaker.NoHistory));
        burn(NANO);
        rewards.observe();
        for (uint256 i = 0; i < 5; i++) {
            vm.warp(block.timestamp + TWAP / 6);
            told(2 * NANO);
            rewards.observe();
        }
        vm.warp(START + TWAP - 1);
        told(2 * NANO);
        eq(rewards.twap(), 0, "a second too early");
        refuses(paused(IRewards.Breaker.NoHistory));
        burn(NANO);
        vm.warp(START + TWAP);
        burn(NANO);
    }

    function test_aSpotPriceThatIsFarOffPausesBurningAndRootsButNotClaims() public {
        steady(2 * NANO);
        burn(30 * NANO);
        over(0);
        steady(2 * NANO);
        (bytes32 root, bytes32[] memory proof) = pair(provider, 9e18);
        post(0, root, 9e18 + 1);
        over(1);
        steady(2 * NANO);
        told(2.2e9);
        burn(NANO);
        told(2.2e9 + 1);
        refuses(paused(IRewards.Breaker.PriceDeviates));
        burn(NANO);
        told(1.8e9 - 1);
        refuses(paused(IRewards.Breaker.PriceDeviates));
        burn(NANO);
        told(type(uint256).max);
        refuses(paused(IRewards.Breaker.PriceDeviates));
        burn(NANO);
        vm.prank(SETTLER);
        refuses(paused(IRewards.Breaker.PriceDeviates));
        rewards.postRoot(1, root, 9e18 + 1);
        eq(rewards.claim(provider, 9e18, proof), 9e18, "earned is earned");
    }

    function test_oldPricesPause() public {
        steady(2 * NANO);
        uint256 last = block.timestamp;
        vm.warp(last + AGE);
        burn(NANO);
        vm.warp(last + AGE + 1);
        refuses(paused(IRewards.Breaker.ObservationOld));
        burn(NANO);
        told(2 * NANO);
        rewards.observe();
        burn(NANO);
        oracle.tell(2 * NANO, block.timestamp - AGE - 1);
        refuses(paused(IRewards.Breaker.OracleOld));
        burn(NANO);
        oracle.tell(2 * NANO, block.timestamp + 1);
        refuses(paused(IRewards.Breaker.OracleOld));
        burn(NANO);
    }

    function test_refusesObservationsThatAreNone() public {
        uint256[2] memory prices = [uint256(0), uint256(type(uint80).max) + 1];
        for (uint256 i = 0; i < 2; i++) {
            told(prices[i]);
            refuses(abi.encodeWithSelector(IRewards.PriceInvalid.selector, prices[i], START));
            rewards.observe();
        }
        oracle.tell(1, START - AGE - 1);
        refuses(abi.encodeWithSelector(IRewards.PriceInvalid.selector, 1, START - AGE - 1));
        rewards.observe();
        told(1);
        rewards.observe();
        uint256 next = START + TWAP / 32;
        vm.warp(next - 1);
        refuses(abi.encodeWithSelector(IRewards.ObservedTooSoon.selector, next, next - 1));
        rewards.observe();
    }

    function test_aMomentsPriceBuysNothing() public {
        steady(2 * NANO);
        vm.warp(block.timestamp + TWAP / 32);
        told(2000 * NANO);
        rewards.observe();
        eq(rewards.twap(), 2 * NANO, "it has not held for a second yet");
        refuses(paused(IRewards.Breaker.PriceDeviates));
        burn(NANO);
    }

    function test_nothingIsBurnedBeforeTheStart() public {
        IRewards.Terms memory agreement = burnTerms();
        agreement.start = uint40(START + 7 days);
        rewards = deploy(agreement);
        steady(2 * NANO);
        refuses(abi.encodeWithSelector(IRewards.NotStarted.selector, START + 7 days, block.timestamp));
        burn(NANO);
    }

    function test_refusesTermsThatMakeNoSense() public {
        IRewards.Terms[11] memory bad;
        for (uint256 i = 0; i < 11; i++) {
            bad[i] = burnTerms();
        }
        bad[0].oracle = address(0);
        (bad[1].genesis, bad[1].genesisHolder) = (0, address(0));
        bad[2].twapWindow = 10 minutes - 1;
        bad[3].twapWindow = 7 days + 1;
        bad[4].maxAge = TWAP / 32 - 1;
        bad[5].maxAge = TWAP + 1;
        bad[6].maxDeviationBps = 0;
        bad[7].maxDeviationBps = 5001;
        bad[8].burnFeeBps = 10_000;
        bad[9].settler = address(0);
        bad[10].genesisHolder = address(0);
        for (uint256 i = 0; i < 11; i++) {
            refuses(abi.encodeWithSelector(IRewards.TermsInvalid.selector, bad[i]));
            deploy(bad[i]);
        }
    }

    // Whatever the numbers

    function testFuzz_atOnePriceNoMoreIsMintedThanWasBurned(uint128[5] memory amounts, uint80 price, uint16 feeBps) public {
        IRewards.Terms memory agreement = burnTerms();
        agreement.genesis = type(uint128).max;
        agreement.firstEmission = type(uint128).max;
        agreement.burnFeeBps = feeBps % 10_000;
        rewards = deploy(agreement);
        price = uint80(bound(price, 1, type(uint80).max));
        steady(price);
        uint256 burned = 0;
        for (uint256 i = 0; i < 5; i++) {
            uint128 nanoUsd = uint128(bound(amounts[i], 1, 1e18));
            uint256 amount = burn(nanoUsd);
            vm.assertTrue(amount * price >= uint256(nanoUsd) * 1e18, "never for less than its worth");
            vm.assertTrue((amount - 1) * price < uint256(nanoUsd) * 1e18, "nor for a unit more");
            burned += amount;
        }
        vm.assertTrue(rewards.mintable(0) <= burned, "no more than was burned");
        eq(rewards.totalSupply(), type(uint128).max - burned, "supply");
    }

    function testFuzz_theWeightedPriceLiesBetweenThePricesSeen(uint80[80] memory prices, uint16[80] memory waits) public {
        uint256 lowest = type(uint256).max;
        uint256 highest = 0;
        for (uint256 i = 0; i < 80; i++) {
            uint256 price = bound(prices[i], 1, type(uint80).max);
            (lowest, highest) = (price < lowest ? price : lowest, price > highest ? price : highest);
            told(price);
            rewards.observe();
            vm.warp(block.timestamp + bound(waits[i], TWAP / 32, TWAP));
            uint256 average = rewards.twap();
            bool known = block.timestamp >= START + TWAP;
            vm.assertTrue(known ? average >= lowest && average <= highest : average == 0, "between them, once there is a window");
        }
    }
}
