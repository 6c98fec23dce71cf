// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRewards} from "../src/interfaces/IRewards.sol";
import {RewardKit, ToldOracle} from "./kit/RewardKit.sol";

/// @dev The contract and src/core/ledger/burn-and-mint.test.ts check the same numbers.
contract RewardVectorsTest is RewardKit {
    string private _json;

    function setUp() public override {
        super.setUp();
        _json = vm.readFile("test/fixtures/rewards.json");
        oracle = new ToldOracle();
    }

    function column(string memory key) private view returns (uint256[] memory values) {
        values = vm.parseJsonUintArray(_json, key);
        vm.assertTrue(values.length != 0, "a column of numbers");
    }

    function test_emission() public {
        uint256[] memory first = column(".emission.first");
        uint256[] memory halving = column(".emission.halving");
        uint256[] memory epoch = column(".emission.epoch");
        uint256[] memory amount = column(".emission.amount");
        for (uint256 i = 0; i < amount.length; i++) {
            IRewards.Terms memory agreement = emissionTerms();
            agreement.firstEmission = uint128(first[i]);
            agreement.halvingEpochs = uint32(halving[i]);
            eq(deploy(agreement).emissionOf(uint32(epoch[i])), amount[i], "emission");
        }
    }

    function test_burn() public {
        uint256[] memory nanoUsd = column(".burn.nanoUsd");
        uint256[] memory price = column(".burn.price");
        uint256[] memory amount = column(".burn.amount");
        for (uint256 i = 0; i < amount.length; i++) {
            IRewards.Terms memory agreement = burnTerms();
            agreement.genesis = type(uint128).max;
            agreement.start = uint40(block.timestamp);
            rewards = deploy(agreement);
            steady(price[i]);
            vm.prank(PAYER);
            eq(rewards.burn(uint128(nanoUsd[i]), type(uint256).max, 0), amount[i], "burned");
        }
    }

    function test_mint() public {
        uint256[] memory burned = column(".mint.burned");
        uint256[] memory feeBps = column(".mint.feeBps");
        uint256[] memory price = column(".mint.price");
        uint256[] memory emission = column(".mint.emission");
        uint256[] memory amount = column(".mint.amount");
        for (uint256 i = 0; i < amount.length; i++) {
            IRewards.Terms memory agreement = burnTerms();
            agreement.genesis = type(uint128).max;
            agreement.start = uint40(block.timestamp);
            agreement.burnFeeBps = uint16(feeBps[i]);
            agreement.firstEmission = uint128(emission[i]);
            rewards = deploy(agreement);
            steady(price[i]);
            vm.prank(PAYER);
            rewards.burn(uint128(burned[i]), type(uint256).max, 0);
            eq(rewards.mintable(0), amount[i], "minted");
        }
    }

    function test_weightedPrice() public {
        uint256[] memory times = column(".twap.at");
        uint256[] memory nanoUsd = column(".twap.nanoUsd");
        uint256[] memory askedAt = column(".twap.askedAt");
        uint256[] memory average = column(".twap.average");
        IRewards.Terms memory agreement = burnTerms();
        agreement.twapWindow = uint40(column(".twap.window")[0]);
        rewards = deploy(agreement);
        uint256 next = 0;
        for (uint256 i = 0; i < average.length; i++) {
            for (; next < times.length && times[next] <= askedAt[i]; next++) {
                vm.warp(START + times[next]);
                told(nanoUsd[next]);
                rewards.observe();
            }
            vm.warp(START + askedAt[i]);
            eq(rewards.twap(), average[i], "average");
        }
        vm.assertTrue(rewards.observations() > rewards.OBSERVATIONS(), "the ring went round");
    }
}
