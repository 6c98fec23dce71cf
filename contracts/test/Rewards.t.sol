// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Rewards} from "../src/Rewards.sol";
import {IRewards} from "../src/interfaces/IRewards.sol";
import {RewardKit} from "./kit/RewardKit.sol";

contract RewardsTest is RewardKit {
    function setUp() public override {
        super.setUp();
        rewards = deploy(emissionTerms());
    }

    // Earning

    function test_anEpochsRootCountsAfterItsWindowAndAClaimMintsTheDifference() public {
        over(0);
        bytes32[] memory proof = earned(0, 600e18);
        refuses(abi.encodeWithSelector(IRewards.ProofInvalid.selector, provider, uint128(600e18)));
        rewards.claim(provider, 600e18, proof);
        counts();
        vm.prank(stranger);
        eq(rewards.claim(provider, 600e18, proof), 600e18, "all of it");
        eq(rewards.balanceOf(provider), 600e18, "to the provider, whoever asks");
        refuses(abi.encodeWithSelector(IRewards.NothingDue.selector, provider, uint128(600e18), uint128(600e18)));
        rewards.claim(provider, 600e18, proof);
        over(1);
        proof = earned(1, 1500e18);
        counts();
        eq(rewards.claim(provider, 1500e18, proof), 900e18, "the difference");
        eq(rewards.totalSupply(), 1500e18, "nothing else was minted");
        eq(rewards.nextEpoch(), 2, "next");
    }

    function test_theScheduleHalves() public view {
        eq(rewards.emissionOf(0), EMISSION, "first");
        eq(rewards.emissionOf(3), EMISSION, "before the halving");
        eq(rewards.emissionOf(4), EMISSION / 2, "halved");
        eq(rewards.emissionOf(8), EMISSION / 4, "again");
        eq(rewards.emissionOf(type(uint32).max), 0, "in the end nothing");
    }

    function test_noRootAddsMoreThanItsEpochEmits() public {
        over(0);
        (bytes32 root,) = pair(provider, 1);
        vm.prank(SETTLER);
        refuses(abi.encodeWithSelector(IRewards.AboveSchedule.selector, uint32(0), EMISSION + 1, EMISSION));
        rewards.postRoot(0, root, EMISSION + 1);
        post(0, root, EMISSION);
        over(1);
        // What epoch 1 lets lapse, epoch 2 has not.
        over(2);
        vm.prank(SETTLER);
        refuses(abi.encodeWithSelector(IRewards.AboveSchedule.selector, uint32(2), EMISSION + 1, EMISSION));
        rewards.postRoot(2, root, 2 * EMISSION + 1);
        post(2, root, 2 * EMISSION);
        counts();
        vm.prank(SETTLER);
        refuses(abi.encodeWithSelector(IRewards.EpochNotHigher.selector, uint32(1), uint32(3)));
        rewards.postRoot(1, root, 2 * EMISSION);
    }

    function test_roundingIsCarriedAndMoreLapses() public {
        (bytes32 root,) = pair(provider, 1);
        over(0);
        post(0, root, EMISSION - 7);
        over(1);
        vm.prank(SETTLER);
        refuses(abi.encodeWithSelector(IRewards.AboveSchedule.selector, uint32(1), EMISSION + 8, EMISSION + 7));
        rewards.postRoot(1, root, 2 * EMISSION + 1);
        post(1, root, 2 * EMISSION);
        over(2);
        post(2, root, 2 * EMISSION);
        over(3);
        vm.prank(SETTLER);
        refuses(abi.encodeWithSelector(IRewards.AboveSchedule.selector, uint32(3), EMISSION + 1e9 + 1, EMISSION + 1e9));
        rewards.postRoot(3, root, 3 * EMISSION + 1e9 + 1);
    }

    function test_refusesRootsThatAreNone() public {
        (bytes32 root,) = pair(provider, 1);
        vm.warp(START + EPOCH - 1);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IRewards.NotSettler.selector, stranger));
        rewards.postRoot(0, root, 1);
        vm.startPrank(SETTLER);
        refuses(abi.encodeWithSelector(IRewards.EpochNotOver.selector, uint32(0), START + EPOCH, START + EPOCH - 1));
        rewards.postRoot(0, root, 1);
        vm.warp(START + EPOCH);
        refuses(abi.encodeWithSelector(IRewards.RootEmpty.selector));
        rewards.postRoot(0, 0, 1);
        rewards.postRoot(0, root, 2);
        refuses(abi.encodeWithSelector(IRewards.RootPending.selector, uint32(0), START + EPOCH + CHALLENGE));
        rewards.postRoot(0, root, 2);
        vm.warp(START + 2 * EPOCH);
        refuses(abi.encodeWithSelector(IRewards.TotalBelowLast.selector, uint128(1), uint128(2)));
        rewards.postRoot(1, root, 1);
        vm.stopPrank();
    }

    function test_leavesThatAreMoreThanTheTotalMintNoMoreThanIt() public {
        over(0);
        (bytes32 root, bytes32[] memory proof) = pair(provider, 5 * EMISSION);
        post(0, root, EMISSION);
        counts();
        refuses(abi.encodeWithSelector(IRewards.RootOverdrawn.selector, 5 * EMISSION, EMISSION));
        rewards.claim(provider, 5 * EMISSION, proof);
        eq(rewards.totalSupply(), 0, "nothing");
    }

    // Challenges

    function test_aWatcherVetoesAndTheSettlerPostsAgain() public {
        vm.prank(WATCHER);
        refuses(abi.encodeWithSelector(IRewards.NoRootPending.selector));
        rewards.veto();
        over(0);
        earned(0, 600e18);
        eq(rewards.pendingRoot().total, 600e18 + 1, "pending");
        vm.prank(SETTLER);
        refuses(abi.encodeWithSelector(IRewards.NotWatcher.selector, SETTLER));
        rewards.veto();
        vm.warp(START + EPOCH + CHALLENGE - 1);
        vm.prank(WATCHER);
        rewards.veto();
        bytes32[] memory proof = earned(0, 500e18);
        counts();
        vm.prank(WATCHER);
        refuses(abi.encodeWithSelector(IRewards.ChallengeWindowOver.selector, block.timestamp, block.timestamp));
        rewards.veto();
        eq(rewards.claim(provider, 500e18, proof), 500e18, "the second");
        eq(rewards.pendingRoot().total, 0, "none pends");
    }

    function test_aRootThatTakesAwayIsDisproved() public {
        over(0);
        bytes32[] memory was = earned(0, 600e18);
        over(1);
        (bytes32 root, bytes32[] memory now_) = pair(provider, 599e18 + 1);
        post(1, root, 700e18);
        vm.startPrank(stranger);
        refuses(abi.encodeWithSelector(IRewards.ProofInvalid.selector, provider, uint128(600e18)));
        rewards.disprove(provider, 600e18, was, 599e18 + 1, now_);
        refuses(abi.encodeWithSelector(IRewards.NoContradiction.selector));
        rewards.disprove(provider, 599e18 + 1, now_, 599e18 + 1, now_);
        rewards.disprove(provider, 599e18 + 1, now_, 600e18, was);
        vm.stopPrank();
        eq(rewards.claim(provider, 600e18, was), 600e18, "what counted still counts");
        now_ = earned(1, 601e18);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IRewards.NoContradiction.selector));
        rewards.disprove(provider, 601e18, now_, 600e18, was);
    }

    function test_aRootWithTwoLeavesForOneIsDisproved() public {
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = leafOf(provider, 5e18);
        leaves[1] = leafOf(provider, 6e18);
        bytes32[][] memory tree = treeOf(leaves);
        over(0);
        post(0, rootOf(tree), 11e18);
        vm.prank(stranger);
        rewards.disprove(provider, 6e18, proofOf(tree, 1), 5e18, proofOf(tree, 0));
        counts();
        eq(rewards.rootOf().root, 0, "gone");
    }

    // Terms

    function test_burnsNothingInThisMode() public {
        bytes memory wrong = abi.encodeWithSelector(IRewards.ModeWrong.selector, IRewards.Mode.Emission);
        refuses(wrong);
        rewards.burn(1, 1, 0);
        refuses(wrong);
        rewards.observe();
    }

    function test_refusesTermsThatMakeNoSense() public {
        IRewards.Terms[14] memory bad;
        for (uint256 i = 0; i < 14; i++) {
            bad[i] = emissionTerms();
        }
        bad[0].settler = address(0);
        bad[1].start = uint40(START - 1);
        bad[2].epochLength = 1 hours - 1;
        bad[3].epochLength = 30 days + 1;
        bad[4].halvingEpochs = 0;
        bad[5].firstEmission = 0;
        bad[6].challengeWindow = 1 hours - 1;
        bad[7].challengeWindow = EPOCH + 1;
        bad[8].genesis = 1;
        bad[9].genesisHolder = provider;
        bad[10].oracle = address(1);
        bad[11].twapWindow = 1;
        bad[12].maxDeviationBps = 1;
        bad[13].burnFeeBps = 1;
        for (uint256 i = 0; i < 14; i++) {
            refuses(abi.encodeWithSelector(IRewards.TermsInvalid.selector, bad[i]));
            deploy(bad[i]);
        }
        address[] memory who = watchers();
        who[0] = SETTLER;
        refuses(abi.encodeWithSelector(IRewards.WatcherInvalid.selector, SETTLER));
        new Rewards("", "", emissionTerms(), who);
    }

    // Whatever the numbers

    function testFuzz_noMoreIsMintedThanTheScheduleSays(uint128[6] memory totals, uint128[6] memory leaves, uint8[6] memory skips)
        public
    {
        uint256 scheduled = 0;
        uint32 epoch = 0;
        uint128 total = 0;
        for (uint256 i = 0; i < 6; i++) {
            uint32 skipped = skips[i] % 3;
            epoch += skipped;
            over(epoch);
            scheduled += rewards.emissionOf(epoch);
            total += uint128(bound(totals[i], 0, rewards.emissionOf(epoch)));
            uint128 leaf = uint128(bound(leaves[i], 0, 2 * EMISSION));
            (bytes32 root, bytes32[] memory proof) = pair(provider, leaf);
            post(epoch, root, total);
            counts();
            if (leaf > rewards.claimedOf(provider)) {
                try rewards.claim(provider, leaf, proof) {}
                catch (bytes memory why) {
                    vm.assertTrue(
                        bytes4(why) == IRewards.RootOverdrawn.selector, "a leaf above what the root adds, and nothing else"
                    );
                }
            }
            epoch++;
            vm.assertTrue(rewards.totalSupply() <= total, "not above the roots");
            vm.assertTrue(rewards.totalSupply() <= scheduled, "not above the schedule");
            eq(rewards.totalSupply(), rewards.claimed(), "only by claims");
        }
    }
}
