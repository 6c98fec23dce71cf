// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Stakes} from "../src/Stakes.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IStakes} from "../src/interfaces/IStakes.sol";
import {StakeKit} from "./kit/StakeKit.sol";

contract StakeEvidenceTest is StakeKit {
    // Registration

    function test_aProviderRegistersAndChangesItsDescription() public {
        vm.prank(provider);
        stakes.register(keccak256("a description"));
        vm.prank(provider);
        stakes.register(keccak256("another"));
        eq(stakes.providerOf(provider).metadata, keccak256("another"), "the last one");
        vm.prank(provider);
        refuses(abi.encodeWithSelector(IStakes.MetadataEmpty.selector));
        stakes.register(0);
    }

    function test_aNodesKeyAgreesOnceAndForGood() public {
        bytes memory signature = signed(NODE_KEY, stakes.nodeDigest(provider, node));
        vm.prank(provider);
        refuses(abi.encodeWithSelector(IStakes.NotRegistered.selector, provider));
        stakes.addNode(node, signature);
        registered();
        vm.prank(stranger);
        stakes.register(keccak256("a thief"));
        bytes32 digest = stakes.nodeDigest(stranger, stranger);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IStakes.NodeSignatureInvalid.selector, stranger, digest));
        stakes.addNode(stranger, signature);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IStakes.NodeTaken.selector, node, provider));
        stakes.addNode(node, signature);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IStakes.NotYourNode.selector, node, stranger));
        stakes.retireNode(node);
        vm.prank(provider);
        stakes.retireNode(node);
        vm.assertTrue(stakes.retired(node), "retired");
        vm.assertTrue(stakes.ownerOf(node) == provider, "and still the provider's");
    }

    // Stakes

    function test_aStakeLeavesWhenItsUnbondingIsOver() public {
        staked(100 * USD);
        vm.startPrank(provider);
        refuses(abi.encodeWithSelector(IStakes.StakeTooLow.selector, provider, 100 * USD, 100 * USD + 1));
        stakes.unbond(100 * USD + 1);
        stakes.unbond(60 * USD);
        vm.warp(START + 1 days);
        stakes.unbond(40 * USD);
        uint256 free = START + 1 days + UNBONDING;
        vm.warp(free - 1);
        refuses(abi.encodeWithSelector(IStakes.StillBonded.selector, provider, free, free - 1));
        stakes.withdraw(provider, 1);
        vm.warp(free);
        refuses(abi.encodeWithSelector(IStakes.StakeTooLow.selector, provider, 100 * USD, 100 * USD + 1));
        stakes.withdraw(provider, 100 * USD + 1);
        uint256 before = usdc.balanceOf(provider);
        stakes.withdraw(provider, 100 * USD);
        eq(usdc.balanceOf(provider) - before, 100 * USD, "all of it");
        eq(stakes.held(), 0, "nothing remains");
        vm.stopPrank();
    }

    function test_refusesStakesForNobodyAndAmountsOfZero() public {
        refuses(abi.encodeWithSelector(IStakes.NotRegistered.selector, stranger));
        stakes.stake(stranger, 1);
        staked(1);
        vm.startPrank(provider);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        stakes.stake(provider, 0);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        stakes.unbond(0);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        stakes.withdraw(provider, 0);
        vm.stopPrank();
    }

    // Evidence

    function test_twoReceiptsForOneSlotCostHalfTheStake() public {
        staked(100 * USD);
        vm.prank(provider);
        stakes.unbond(80 * USD);
        slashReceipts(receipt(1, "a"), receipt(1, "b"));
        IStakes.Provider memory guilty = stakes.providerOf(provider);
        eq(guilty.bonded, 0, "bonded first");
        eq(guilty.unbonding, 50 * USD, "what is unbonding is at risk, too");
        eq(stakes.creditOf(stranger), 5 * USD, "a tenth for who brought it");
        eq(stakes.creditOf(pool), 45 * USD, "the rest for the pool");
        vm.prank(pool);
        stakes.withdrawCredit(pool, 45 * USD);
        eq(usdc.balanceOf(pool), 45 * USD, "paid");
        vm.prank(pool);
        refuses(abi.encodeWithSelector(IStakes.CreditTooLow.selector, pool, uint256(0), uint256(1)));
        stakes.withdrawCredit(pool, 1);
    }

    function test_oneSlotIsJudgedOnce() public {
        staked(100 * USD);
        slashReceipts(receipt(1, "a"), receipt(1, "b"));
        IStakes.Receipt memory one = receipt(1, "c");
        IStakes.Receipt memory two = receipt(1, "a");
        bytes memory first = signedReceipt(NODE_KEY, one);
        bytes memory second = signedReceipt(NODE_KEY, two);
        vm.expectPartialRevert(IStakes.OffenceJudged.selector);
        stakes.slashDoubleReceipt(one, first, two, second);
        slashReceipts(receipt(2, "a"), receipt(2, "b"));
        eq(stakes.providerOf(provider).bonded, 25 * USD, "another slot is another offence");
    }

    function test_refusesReceiptsThatDoNotContradictEachOther() public {
        staked(100 * USD);
        IStakes.Receipt memory one = receipt(1, "a");
        IStakes.Receipt[4] memory others = [receipt(1, "a"), receipt(2, "b"), receipt(1, "b"), receipt(1, "b")];
        others[2].gateway = stranger;
        others[3].node = stranger;
        bytes memory first = signedReceipt(NODE_KEY, one);
        for (uint256 i = 0; i < 4; i++) {
            bytes memory second = signedReceipt(NODE_KEY, others[i]);
            refuses(abi.encodeWithSelector(IStakes.NoContradiction.selector));
            stakes.slashDoubleReceipt(one, first, others[i], second);
        }
    }

    function test_refusesPapersThatTheNodeDidNotSign() public {
        staked(100 * USD);
        IStakes.Receipt memory one = receipt(1, "a");
        IStakes.Receipt memory two = receipt(1, "b");
        bytes memory true1 = signedReceipt(NODE_KEY, one);
        bytes memory true2 = signedReceipt(NODE_KEY, two);
        bytes memory forged1 = signedReceipt(STRANGER_KEY, one);
        bytes memory forged2 = signedReceipt(STRANGER_KEY, two);
        bytes32 digest = stakes.receiptDigest(one);
        refuses(abi.encodeWithSelector(IStakes.NodeSignatureInvalid.selector, node, digest));
        stakes.slashDoubleReceipt(one, forged1, two, true2);
        digest = stakes.receiptDigest(two);
        refuses(abi.encodeWithSelector(IStakes.NodeSignatureInvalid.selector, node, digest));
        stakes.slashDoubleReceipt(one, true1, two, forged2);
    }

    function test_refusesEvidenceAgainstNobodyAndNothing() public {
        IStakes.Receipt memory one = receipt(1, "a");
        IStakes.Receipt memory two = receipt(1, "b");
        bytes memory first = signedReceipt(NODE_KEY, one);
        bytes memory second = signedReceipt(NODE_KEY, two);
        refuses(abi.encodeWithSelector(IStakes.NotRegistered.selector, address(0)));
        stakes.slashDoubleReceipt(one, first, two, second);
        registered();
        refuses(abi.encodeWithSelector(IStakes.NothingAtStake.selector, provider));
        stakes.slashDoubleReceipt(one, first, two, second);
    }

    function acceptance(bytes32 lease, uint40 from, uint40 until) private view returns (IStakes.Acceptance memory) {
        return IStakes.Acceptance(node, 3, lease, from, until);
    }

    function slashAcceptances(IStakes.Acceptance memory one, IStakes.Acceptance memory two) private {
        bytes memory first = signed(NODE_KEY, stakes.acceptanceDigest(one));
        bytes memory second = signed(NODE_KEY, stakes.acceptanceDigest(two));
        vm.prank(stranger);
        stakes.slashFalseAcceptance(one, first, two, second);
    }

    function test_oneRoomForTwoLeasesAtOneTimeCostsHalfTheStake() public {
        staked(100 * USD);
        slashAcceptances(acceptance("a", 100, 200), acceptance("b", 199, 300));
        eq(stakes.providerOf(provider).bonded, 50 * USD, "half");
        // In any order, and however often the node repeated itself.
        IStakes.Acceptance memory one = acceptance("b", 150, 300);
        IStakes.Acceptance memory two = acceptance("a", 100, 200);
        bytes memory first = signed(NODE_KEY, stakes.acceptanceDigest(one));
        bytes memory second = signed(NODE_KEY, stakes.acceptanceDigest(two));
        vm.expectPartialRevert(IStakes.OffenceJudged.selector);
        stakes.slashFalseAcceptance(one, first, two, second);
    }

    function test_refusesAcceptancesThatGoTogether() public {
        staked(100 * USD);
        IStakes.Acceptance memory one = acceptance("a", 100, 200);
        IStakes.Acceptance[4] memory others = [
            acceptance("b", 200, 300), // right after
            acceptance("a", 150, 300), // the same lease, renewed
            acceptance("b", 150, 300), // another room
            acceptance("b", 150, 300) // another node
        ];
        others[2].room = 4;
        others[3].node = stranger;
        bytes memory first = signed(NODE_KEY, stakes.acceptanceDigest(one));
        for (uint256 i = 0; i < 4; i++) {
            bytes memory second = signed(NODE_KEY, stakes.acceptanceDigest(others[i]));
            refuses(abi.encodeWithSelector(IStakes.NoContradiction.selector));
            stakes.slashFalseAcceptance(one, first, others[i], second);
        }
        others[0].from = 199;
        bytes memory forged = signed(STRANGER_KEY, stakes.acceptanceDigest(others[0]));
        bytes32 digest = stakes.acceptanceDigest(others[0]);
        refuses(abi.encodeWithSelector(IStakes.NodeSignatureInvalid.selector, node, digest));
        stakes.slashFalseAcceptance(one, first, others[0], forged);
        forged = signed(STRANGER_KEY, stakes.acceptanceDigest(one));
        bytes memory good = signed(NODE_KEY, digest);
        digest = stakes.acceptanceDigest(one);
        refuses(abi.encodeWithSelector(IStakes.NodeSignatureInvalid.selector, node, digest));
        stakes.slashFalseAcceptance(one, forged, others[0], good);
    }

    // Whatever the numbers

    function testFuzz_slashesAreSplitWholly(uint128 amount, uint128 unbonding, uint8 offences) public {
        amount = uint128(bound(amount, 1, 1_000_000 * USD));
        staked(amount);
        unbonding = uint128(bound(unbonding, 0, amount));
        if (unbonding != 0) {
            vm.prank(provider);
            stakes.unbond(unbonding);
        }
        for (uint64 i = 0; i < offences % 4; i++) {
            uint128 before = left();
            if (before < 2) break;
            slashReceipts(receipt(i, "a"), receipt(i, "b"));
            eq(left(), before - before / 2, "half of what was left");
        }
        eq(stakes.creditOf(stranger) + stakes.creditOf(pool) + left(), amount, "all of it is somebody's");
        eq(stakes.held(), amount, "and here");
    }

    function left() private view returns (uint128) {
        IStakes.Provider memory now_ = stakes.providerOf(provider);
        return now_.bonded + now_.unbonding;
    }
}
