// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Payouts} from "../src/Payouts.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IPayouts} from "../src/interfaces/IPayouts.sol";
import {Wallet} from "./kit/Kit.sol";
import {PayoutKit} from "./kit/PayoutKit.sol";

contract PayoutsTest is PayoutKit {
    uint40 private constant WINDOW = 1 hours;
    uint40 private constant ANSWER = 12 hours;
    uint40 private constant LEAVE = 2 days;

    /// @dev The gateway has funds, a bond, and a root of epoch 1 that owes the provider and counts.
    function rooted(uint128 owed) private returns (bytes32[] memory proof) {
        fundGateway(1000 * USD, 1000 * USD);
        bytes32 root;
        (root, proof) = pair(provider, owed);
        postRoot(root, owed + 1, 1);
        vm.warp(block.timestamp + WINDOW);
    }

    // Roots

    function test_aRootCountsWhenItsWindowIsOver() public {
        fundGateway(1000 * USD, 1000 * USD);
        (bytes32 root, bytes32[] memory proof) = pair(provider, 5 * USD);
        vm.expectEmit();
        emit IPayouts.RootPosted(gateway, 1, root, 5 * USD + 1, uint40(START) + WINDOW);
        postRoot(root, 5 * USD + 1, 1);
        vm.warp(START + WINDOW - 1);
        eq(payouts.rootOf(gateway), 0, "not yet");
        refuses(abi.encodeWithSelector(IPayouts.ProofInvalid.selector, gateway, provider, 5 * USD));
        payouts.claim(gateway, provider, 5 * USD, proof);
        vm.warp(START + WINDOW);
        uint256 before = usdc.balanceOf(provider);
        vm.prank(stranger);
        payouts.claim(gateway, provider, 5 * USD, proof);
        eq(usdc.balanceOf(provider) - before, 5 * USD, "paid to the provider, whoever asks");
    }

    function test_claimPaysTheDifference() public {
        bytes32[] memory proof = rooted(5 * USD);
        payouts.claim(gateway, provider, 5 * USD, proof);
        refuses(abi.encodeWithSelector(IPayouts.NothingDue.selector, gateway, provider, 5 * USD, 5 * USD));
        payouts.claim(gateway, provider, 5 * USD, proof);
        bytes32 root;
        (root, proof) = pair(provider, 8 * USD);
        postRoot(root, 8 * USD + 1, 2);
        vm.warp(block.timestamp + WINDOW);
        uint256 before = usdc.balanceOf(provider);
        payouts.claim(gateway, provider, 8 * USD, proof);
        eq(usdc.balanceOf(provider) - before, 3 * USD, "the difference");
        eq(payouts.paidTo(gateway, provider), 8 * USD, "in all");
    }

    function test_theLastRootCountsWhileTheNextOnePends() public {
        bytes32[] memory proof = rooted(5 * USD);
        postRoot(keccak256("next"), 9 * USD, 2);
        payouts.claim(gateway, provider, 5 * USD, proof);
        eq(payouts.paidTo(gateway, provider), 5 * USD, "by the last root");
    }

    function test_refusesLeavesThatAreNotInTheRoot() public {
        bytes32[] memory proof = rooted(5 * USD);
        refuses(abi.encodeWithSelector(IPayouts.ProofInvalid.selector, gateway, provider, 5 * USD + 1));
        payouts.claim(gateway, provider, 5 * USD + 1, proof);
        refuses(abi.encodeWithSelector(IPayouts.ProofInvalid.selector, gateway, stranger, 5 * USD));
        payouts.claim(gateway, stranger, 5 * USD, proof);
        refuses(abi.encodeWithSelector(IPayouts.ProofInvalid.selector, stranger, provider, 5 * USD));
        payouts.claim(stranger, provider, 5 * USD, proof);
    }

    function test_refusesRootsThatDoNotFollow() public {
        rooted(5 * USD);
        vm.startPrank(gateway);
        refuses(abi.encodeWithSelector(IPayouts.RootEmpty.selector));
        payouts.postRoot(0, 6 * USD, 2);
        refuses(abi.encodeWithSelector(IPayouts.EpochNotHigher.selector, gateway, uint32(1), uint32(1)));
        payouts.postRoot(keccak256("next"), 6 * USD, 1);
        refuses(abi.encodeWithSelector(IPayouts.TotalBelowLast.selector, gateway, 5 * USD, 5 * USD + 1));
        payouts.postRoot(keccak256("next"), 5 * USD, 2);
        refuses(abi.encodeWithSelector(IPayouts.RootNotCovered.selector, gateway, 1000 * USD + 1, 1000 * USD));
        payouts.postRoot(keccak256("next"), 1000 * USD + 1, 2);
        payouts.postRoot(keccak256("next"), 1000 * USD, 2);
        refuses(abi.encodeWithSelector(IPayouts.RootPending.selector, gateway, uint32(2), START + 2 * WINDOW));
        payouts.postRoot(keccak256("another"), 1000 * USD, 3);
        vm.stopPrank();
    }

    function test_refusesRootsWithoutABond() public {
        vm.startPrank(stranger);
        payouts.fund(stranger, 10 * USD);
        payouts.bond(stranger, 1000 * USD - 1);
        refuses(abi.encodeWithSelector(IPayouts.BondTooLow.selector, stranger, 1000 * USD - 1, 1000 * USD));
        payouts.postRoot(keccak256("root"), USD, 1);
        payouts.bond(stranger, 1);
        payouts.postRoot(keccak256("root"), USD, 1);
        vm.stopPrank();
    }

    // IOUs

    function test_aProviderThatARootOmitsClaimsByItsIou() public {
        fundGateway(1000 * USD, 1000 * USD);
        postRoot(keccak256("a root without it"), 100 * USD, 1);
        uint256 before = usdc.balanceOf(provider);
        payouts.claimByIou(gateway, provider, 1, 7 * USD, iou(GATEWAY_KEY, provider, 1, 7 * USD));
        eq(usdc.balanceOf(provider) - before, 7 * USD, "at once");
    }

    function test_rootAndIouNeverPayTwice() public {
        bytes32[] memory proof = rooted(5 * USD);
        payouts.claimByIou(gateway, provider, 1, 3 * USD, iou(GATEWAY_KEY, provider, 1, 3 * USD));
        payouts.claim(gateway, provider, 5 * USD, proof);
        eq(payouts.paidTo(gateway, provider), 5 * USD, "what the root says, less the IOU");
        bytes memory signature = iou(GATEWAY_KEY, provider, 1, 4 * USD);
        refuses(abi.encodeWithSelector(IPayouts.NothingDue.selector, gateway, provider, 4 * USD, 5 * USD));
        payouts.claimByIou(gateway, provider, 1, 4 * USD, signature);
    }

    function test_refusesIousThatTheGatewayDidNotSign() public {
        fundGateway(1000 * USD, 1000 * USD);
        bytes memory signature = iou(STRANGER_KEY, provider, 1, 5 * USD);
        bytes memory refusal =
            abi.encodeWithSelector(IPayouts.IouSignatureInvalid.selector, gateway, provider, uint32(1), 5 * USD);
        refuses(refusal);
        payouts.claimByIou(gateway, provider, 1, 5 * USD, signature);
        signature = iou(GATEWAY_KEY, provider, 1, 4 * USD);
        refuses(refusal);
        payouts.claimByIou(gateway, provider, 1, 5 * USD, signature);
        signature = iou(GATEWAY_KEY, stranger, 1, 5 * USD);
        refuses(refusal);
        payouts.claimByIou(gateway, provider, 1, 5 * USD, signature);
        refuses(refusal);
        payouts.claimByIou(gateway, provider, 1, 5 * USD, "");
    }

    function test_aGatewayThatIsAWalletSignsIous() public {
        address wallet = address(new Wallet(gateway));
        payouts.fund(wallet, 10 * USD);
        bytes memory signature = signed(GATEWAY_KEY, payouts.iouDigest(wallet, provider, 1, 5 * USD));
        payouts.claimByIou(wallet, provider, 1, 5 * USD, signature);
        eq(payouts.paidTo(wallet, provider), 5 * USD, "by EIP-1271");
    }

    function test_codeAtItsAddressDoesNotFreeAGatewayOfItsIous() public {
        fundGateway(1000 * USD, 1000 * USD);
        bytes memory signature = iou(GATEWAY_KEY, provider, 1, 5 * USD);
        // A wallet that denies everything, as EIP-7702 would let the gateway put there.
        vm.etch(gateway, address(new Wallet(address(0xdead))).code);
        payouts.claimByIou(gateway, provider, 1, 5 * USD, signature);
        eq(payouts.paidTo(gateway, provider), 5 * USD, "still good");
    }

    function test_claimsDrawOnTheFundsThenOnTheBondThenWait() public {
        fundGateway(5 * USD, 8 * USD);
        bytes memory signature = iou(GATEWAY_KEY, provider, 1, 20 * USD);
        uint256 before = usdc.balanceOf(provider);
        payouts.claimByIou(gateway, provider, 1, 20 * USD, signature);
        eq(usdc.balanceOf(provider) - before, 13 * USD, "all there is");
        eq(payouts.gatewayOf(gateway).bond, 0, "the bond, too");
        refuses(abi.encodeWithSelector(IPayouts.GatewayEmpty.selector, gateway, 7 * USD));
        payouts.claimByIou(gateway, provider, 1, 20 * USD, signature);
        payouts.fund(gateway, 10 * USD);
        payouts.claimByIou(gateway, provider, 1, 20 * USD, signature);
        eq(usdc.balanceOf(provider) - before, 20 * USD, "the rest stayed due");
    }

    // Challenges

    function challenged(uint128 owed) private {
        bytes memory signature = iou(GATEWAY_KEY, provider, 1, owed);
        vm.prank(provider);
        payouts.challenge(gateway, provider, 1, owed, signature);
    }

    function test_aRootThatOmitsAProviderIsVoidedAndCostsTheGateway() public {
        fundGateway(1000 * USD, 1000 * USD);
        uint256 before = usdc.balanceOf(provider);
        postRoot(keccak256("a root without it"), 100 * USD, 1);
        challenged(7 * USD);
        vm.warp(START + ANSWER);
        refuses(abi.encodeWithSelector(IPayouts.AnswerNotDue.selector, START + ANSWER, START + ANSWER));
        payouts.voidRoot(gateway, provider, 7 * USD);
        eq(payouts.rootOf(gateway), 0, "it does not count while it is challenged");
        vm.warp(START + ANSWER + 1);
        payouts.voidRoot(gateway, provider, 7 * USD);
        eq(payouts.gatewayOf(gateway).bond, 600 * USD, "the penalty");
        eq(payouts.creditOf(provider), 410 * USD, "penalty and deposit");
        payouts.claimByIou(gateway, provider, 1, 7 * USD, iou(GATEWAY_KEY, provider, 1, 7 * USD));
        vm.prank(provider);
        payouts.withdrawCredit(provider, 410 * USD);
        eq(usdc.balanceOf(provider) - before, 407 * USD, "with what it was owed");
        refuses(abi.encodeWithSelector(IPayouts.NoRootPending.selector, gateway));
        payouts.voidRoot(gateway, provider, 7 * USD);
    }

    function test_anAnsweredChallengeCostsTheChallenger() public {
        fundGateway(1000 * USD, 1000 * USD);
        (bytes32 root, bytes32[] memory proof) = pair(provider, 5 * USD);
        postRoot(root, 5 * USD + 1, 1);
        challenged(5 * USD);
        vm.warp(START + ANSWER);
        eq(payouts.rootOf(gateway), 0, "waits");
        vm.prank(stranger);
        payouts.answer(gateway, provider, 5 * USD, 5 * USD, proof);
        eq(payouts.rootOf(gateway), root, "counts");
        eq(payouts.gatewayOf(gateway).deposited, 1010 * USD, "the deposit is the gateway's");
        refuses(abi.encodeWithSelector(IPayouts.ChallengeUnknown.selector, gateway, provider, uint32(1), 5 * USD));
        payouts.answer(gateway, provider, 5 * USD, 5 * USD, proof);
        refuses(abi.encodeWithSelector(IPayouts.ChallengeUnknown.selector, gateway, provider, uint32(1), 5 * USD));
        payouts.returnChallenge(gateway, provider, 1, 5 * USD);
    }

    function test_refusesAnswersThatDoNotAnswer() public {
        fundGateway(1000 * USD, 1000 * USD);
        (bytes32 root, bytes32[] memory proof) = pair(provider, 5 * USD);
        postRoot(root, 5 * USD + 1, 1);
        challenged(6 * USD);
        refuses(abi.encodeWithSelector(IPayouts.AnswerTooLow.selector, 5 * USD, 6 * USD));
        payouts.answer(gateway, provider, 6 * USD, 5 * USD, proof);
        refuses(abi.encodeWithSelector(IPayouts.ProofInvalid.selector, gateway, provider, 6 * USD));
        payouts.answer(gateway, provider, 6 * USD, 6 * USD, proof);
        challenged(4 * USD);
        vm.warp(START + ANSWER + 1);
        refuses(abi.encodeWithSelector(IPayouts.AnswerTooLate.selector, START + ANSWER, START + ANSWER + 1));
        payouts.answer(gateway, provider, 4 * USD, 5 * USD, proof);
    }

    function test_aGatewayCannotBlockAChallengeByChallengingItself() public {
        fundGateway(1000 * USD, 1000 * USD);
        (bytes32 root, bytes32[] memory proof) = pair(provider, 1 * USD);
        postRoot(root, 1 * USD + 1, 1);
        challenged(1 * USD);
        payouts.answer(gateway, provider, 1 * USD, 1 * USD, proof);
        challenged(5 * USD);
        vm.warp(START + ANSWER + 1);
        payouts.voidRoot(gateway, provider, 5 * USD);
        eq(payouts.gatewayOf(gateway).pendingRoot, 0, "voided all the same");
    }

    function test_refusesChallengesThatAreNone() public {
        fundGateway(1000 * USD, 1000 * USD);
        bytes memory signature = iou(GATEWAY_KEY, provider, 2, 5 * USD);
        refuses(abi.encodeWithSelector(IPayouts.NoRootPending.selector, gateway));
        payouts.challenge(gateway, provider, 2, 5 * USD, signature);
        postRoot(keccak256("root"), 100 * USD, 1);
        refuses(abi.encodeWithSelector(IPayouts.IouTooNew.selector, uint32(2), uint32(1)));
        payouts.challenge(gateway, provider, 2, 5 * USD, signature);
        refuses(abi.encodeWithSelector(IPayouts.IouSignatureInvalid.selector, gateway, provider, uint32(1), 5 * USD));
        payouts.challenge(gateway, provider, 1, 5 * USD, signature);
        challenged(5 * USD);
        signature = iou(GATEWAY_KEY, provider, 1, 5 * USD);
        refuses(abi.encodeWithSelector(IPayouts.ChallengeExists.selector, gateway, provider, uint32(1), 5 * USD));
        payouts.challenge(gateway, provider, 1, 5 * USD, signature);
        vm.warp(START + WINDOW);
        signature = iou(GATEWAY_KEY, provider, 1, 6 * USD);
        refuses(abi.encodeWithSelector(IPayouts.ChallengeWindowOver.selector, gateway, START + WINDOW, START + WINDOW));
        payouts.challenge(gateway, provider, 1, 6 * USD, signature);
    }

    function test_otherChallengersOfAVoidedRootGetTheirDepositsBack() public {
        fundGateway(1000 * USD, 2000 * USD);
        postRoot(keccak256("root"), 100 * USD, 1);
        challenged(5 * USD);
        bytes memory signature = iou(GATEWAY_KEY, stranger, 1, 6 * USD);
        vm.prank(stranger);
        payouts.challenge(gateway, stranger, 1, 6 * USD, signature);
        refuses(abi.encodeWithSelector(IPayouts.ChallengeOpen.selector, gateway, stranger, uint32(1), 6 * USD));
        payouts.returnChallenge(gateway, stranger, 1, 6 * USD);
        vm.warp(START + ANSWER + 1);
        payouts.voidRoot(gateway, provider, 5 * USD);
        // Even when the gateway goes on with another root.
        postRoot(keccak256("next"), 100 * USD, 2);
        payouts.returnChallenge(gateway, stranger, 1, 6 * USD);
        eq(payouts.creditOf(stranger), 10 * USD, "the deposit");
        refuses(abi.encodeWithSelector(IPayouts.ChallengeUnknown.selector, gateway, stranger, uint32(1), 6 * USD));
        payouts.returnChallenge(gateway, stranger, 1, 6 * USD);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IPayouts.CreditTooLow.selector, stranger, 10 * USD, 10 * USD + 1));
        payouts.withdrawCredit(stranger, 10 * USD + 1);
    }

    // A gateway leaves

    function test_aGatewayLeavesAfterItsDelayWithWhatNoRootLaysClaimTo() public {
        rooted(5 * USD);
        vm.prank(gateway);
        payouts.requestWithdrawal(5000 * USD);
        uint256 asked = block.timestamp;
        vm.warp(asked + LEAVE - 1);
        vm.prank(gateway);
        refuses(abi.encodeWithSelector(IPayouts.WithdrawTooEarly.selector, gateway, asked + LEAVE, asked + LEAVE - 1));
        payouts.finishWithdrawal(gateway);
        vm.warp(asked + LEAVE);
        uint256 before = usdc.balanceOf(gateway);
        vm.prank(gateway);
        payouts.finishWithdrawal(gateway);
        eq(usdc.balanceOf(gateway) - before, 1995 * USD - 1, "all but what the root owes");
        eq(payouts.withdrawable(gateway), 0, "nothing more");
        (, bytes32[] memory proof) = pair(provider, 5 * USD);
        payouts.claim(gateway, provider, 5 * USD, proof);
        eq(payouts.paidTo(gateway, provider), 5 * USD, "the provider has not lost anything");
        vm.prank(gateway);
        refuses(abi.encodeWithSelector(IPayouts.NoWithdrawal.selector, gateway));
        payouts.finishWithdrawal(gateway);
    }

    function test_aPendingRootKeepsItsBond() public {
        fundGateway(100 * USD, 1500 * USD);
        vm.prank(gateway);
        payouts.requestWithdrawal(5000 * USD);
        vm.warp(START + LEAVE);
        postRoot(keccak256("root"), 60 * USD, 1);
        eq(payouts.withdrawable(gateway), 540 * USD, "what is above the bond and the root");
        vm.prank(gateway);
        payouts.finishWithdrawal(gateway);
        IPayouts.Gateway memory left = payouts.gatewayOf(gateway);
        eq(left.bond, 1000 * USD, "bond");
        eq(left.deposited, 60 * USD, "funds");
    }

    function test_aWithdrawalIsNotKeptReadyForever() public {
        fundGateway(100 * USD, 0 + 1);
        vm.startPrank(gateway);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        payouts.requestWithdrawal(0);
        payouts.requestWithdrawal(100 * USD);
        uint256 until = START + LEAVE + 3 days;
        vm.warp(until + 1);
        refuses(abi.encodeWithSelector(IPayouts.WithdrawExpired.selector, gateway, until, until + 1));
        payouts.finishWithdrawal(gateway);
        vm.warp(until);
        payouts.finishWithdrawal(gateway);
        vm.stopPrank();
    }

    // Terms

    function test_refusesTermsThatProtectNobody() public {
        IPayouts.Terms[7] memory bad;
        for (uint256 i = 0; i < 7; i++) {
            bad[i] = payoutTerms();
        }
        bad[0].challengeWindow = 1 hours - 1;
        bad[1].challengeWindow = 24 hours + 1;
        bad[2].answerWindow = 1 hours - 1;
        bad[3].withdrawDelay = bad[3].challengeWindow + bad[3].answerWindow;
        bad[4].withdrawDelay = 30 days + 1;
        bad[5].penalty = 0;
        bad[6].penalty = bad[6].minBond + 1;
        for (uint256 i = 0; i < 7; i++) {
            refuses(abi.encodeWithSelector(IPayouts.TermsInvalid.selector, bad[i]));
            new Payouts(usdc, guardian, bad[i]);
        }
    }

    // Whatever the numbers

    function testFuzz_noMoreIsPaidThanWasOwedAndCovered(
        uint128 funds,
        uint128 bond,
        uint128[5] memory owed,
        bool[5] memory byRoot
    ) public {
        funds = uint128(bound(funds, 1, 500_000 * USD));
        bond = uint128(bound(bond, 1000 * USD, 400_000 * USD));
        fundGateway(funds, bond);
        uint256 before = usdc.balanceOf(provider);
        uint128 highest = 0;
        for (uint32 i = 0; i < 5; i++) {
            uint128 each = uint128(bound(owed[i], 1, 1_000_000 * USD));
            uint128 paid = payouts.paidTo(gateway, provider);
            IPayouts.Gateway memory state = payouts.gatewayOf(gateway);
            bool postable = each + 1 >= state.pendingTotal && each + 1 <= state.deposited && state.bond >= 1000 * USD;
            if (byRoot[i]) {
                if (!postable) continue;
                (bytes32 root, bytes32[] memory proof) = pair(provider, each);
                postRoot(root, each + 1, i + 1);
                vm.warp(block.timestamp + WINDOW);
                if (each > paid) payouts.claim(gateway, provider, each, proof);
            } else if (each > paid && paid < funds + bond) {
                payouts.claimByIou(gateway, provider, i, each, iou(GATEWAY_KEY, provider, i, each));
            } else {
                continue;
            }
            if (each > highest) highest = each;
        }
        uint256 expected = highest < funds + bond ? highest : funds + bond;
        eq(usdc.balanceOf(provider) - before, expected, "the highest that was owed, as far as there is money");
        eq(payouts.held(), funds + bond - expected, "the rest is here");
    }
}
