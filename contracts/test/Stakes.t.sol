// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Stakes} from "../src/Stakes.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IStakes} from "../src/interfaces/IStakes.sol";
import {Kit, Wallet} from "./kit/Kit.sol";

contract StakesTest is Kit {
    bytes32 private constant FINDING = keccak256("it sold another model");
    uint40 private constant UNBONDING = 21 days;

    function registered() private {
        vm.prank(provider);
        stakes.register(keccak256("a description"));
        bytes memory signature = signed(NODE_KEY, stakes.nodeDigest(provider, node));
        vm.prank(provider);
        stakes.addNode(node, signature);
    }

    function staked(uint128 amount) private {
        registered();
        vm.prank(provider);
        stakes.stake(provider, amount);
    }

    function approvals(uint256 count, bytes32 digest) private view returns (IStakes.Approval[] memory all) {
        all = new IStakes.Approval[](count);
        for (uint256 i = 0; i < count; i++) {
            all[i] = IStakes.Approval(vm.addr(auditorKeys[i]), signed(auditorKeys[i], digest));
        }
    }

    function propose(uint128 amount) private {
        stakes.propose(provider, FINDING, amount, approvals(3, stakes.findingDigest(provider, FINDING, amount)));
    }

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

    function receipt(uint64 slot, string memory story) private view returns (IStakes.Receipt memory) {
        return IStakes.Receipt(node, gateway, slot, keccak256(bytes(story)));
    }

    function signedReceipt(uint256 key, IStakes.Receipt memory paper) private view returns (bytes memory) {
        return signed(key, stakes.receiptDigest(paper));
    }

    function slashReceipts(IStakes.Receipt memory one, IStakes.Receipt memory two) private {
        bytes memory first = signedReceipt(NODE_KEY, one);
        bytes memory second = signedReceipt(NODE_KEY, two);
        vm.prank(stranger);
        stakes.slashDoubleReceipt(one, first, two, second);
    }

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

    // Findings

    function test_aFindingNobodyAppealsIsExecuted() public {
        staked(100 * USD);
        propose(20 * USD);
        eq(stakes.providerOf(provider).frozen, 20 * USD, "held back");
        uint256 deadline = START + 3 days;
        vm.warp(deadline);
        refuses(abi.encodeWithSelector(IStakes.DeadlineNotPassed.selector, FINDING, deadline, deadline));
        stakes.execute(FINDING);
        vm.warp(deadline + 1);
        vm.prank(provider);
        refuses(abi.encodeWithSelector(IStakes.DeadlinePassed.selector, FINDING, deadline, deadline + 1));
        stakes.appeal(FINDING);
        stakes.execute(FINDING);
        eq(stakes.providerOf(provider).bonded, 80 * USD, "slashed");
        eq(stakes.providerOf(provider).frozen, 0, "nothing held back");
        eq(stakes.creditOf(pool), 20 * USD, "to the pool");
        refuses(abi.encodeWithSelector(IStakes.FindingState.selector, FINDING, IStakes.State.Executed));
        stakes.execute(FINDING);
    }

    function test_anAppealedFindingLapsesWithoutMoreAuditors() public {
        staked(100 * USD);
        propose(20 * USD);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IStakes.NotAccused.selector, FINDING, stranger));
        stakes.appeal(FINDING);
        vm.warp(START + 3 days);
        vm.prank(provider);
        stakes.appeal(FINDING);
        uint256 deadline = START + 7 days;
        vm.warp(deadline);
        refuses(abi.encodeWithSelector(IStakes.FindingState.selector, FINDING, IStakes.State.Appealed));
        stakes.execute(FINDING);
        refuses(abi.encodeWithSelector(IStakes.DeadlineNotPassed.selector, FINDING, deadline, deadline));
        stakes.lapse(FINDING);
        vm.warp(deadline + 1);
        IStakes.Approval[] memory four = approvals(4, stakes.confirmationDigest(FINDING));
        refuses(abi.encodeWithSelector(IStakes.DeadlinePassed.selector, FINDING, deadline, deadline + 1));
        stakes.confirm(FINDING, four);
        stakes.lapse(FINDING);
        eq(stakes.providerOf(provider).frozen, 0, "released");
        eq(stakes.providerOf(provider).bonded, 100 * USD, "nothing lost");
        IStakes.Approval[] memory three = approvals(3, stakes.findingDigest(provider, FINDING, 20 * USD));
        refuses(abi.encodeWithSelector(IStakes.FindingState.selector, FINDING, IStakes.State.Lapsed));
        stakes.propose(provider, FINDING, 20 * USD, three);
    }

    function test_moreAuditorsConfirmAnAppealedFinding() public {
        staked(100 * USD);
        propose(20 * USD);
        vm.prank(provider);
        stakes.appeal(FINDING);
        bytes32 digest = stakes.confirmationDigest(FINDING);
        IStakes.Approval[] memory three = approvals(3, digest);
        refuses(abi.encodeWithSelector(IStakes.QuorumMissed.selector, uint256(3), uint8(4)));
        stakes.confirm(FINDING, three);
        IStakes.Approval[] memory four = approvals(4, stakes.findingDigest(provider, FINDING, 20 * USD));
        refuses(abi.encodeWithSelector(IStakes.ApprovalInvalid.selector, four[0].auditor, digest));
        stakes.confirm(FINDING, four);
        stakes.confirm(FINDING, approvals(4, digest));
        eq(stakes.providerOf(provider).bonded, 80 * USD, "slashed");
    }

    function test_refusesFindingsOfTooFewOrOfOthers() public {
        staked(100 * USD);
        bytes32 digest = stakes.findingDigest(provider, FINDING, 20 * USD);
        IStakes.Approval[] memory all = approvals(2, digest);
        refuses(abi.encodeWithSelector(IStakes.QuorumMissed.selector, uint256(2), uint8(3)));
        stakes.propose(provider, FINDING, 20 * USD, all);

        all = approvals(3, digest);
        all[2] = all[1];
        refuses(abi.encodeWithSelector(IStakes.ApprovalsNotRising.selector, all[1].auditor, all[1].auditor));
        stakes.propose(provider, FINDING, 20 * USD, all);

        all = approvals(3, digest);
        all[2].signature = signed(STRANGER_KEY, digest);
        refuses(abi.encodeWithSelector(IStakes.ApprovalInvalid.selector, all[2].auditor, digest));
        stakes.propose(provider, FINDING, 20 * USD, all);

        all = new IStakes.Approval[](3);
        all[0] = IStakes.Approval(address(1), "");
        refuses(abi.encodeWithSelector(IStakes.NotAuditor.selector, address(1)));
        stakes.propose(provider, FINDING, 20 * USD, all);

        all = approvals(3, digest);
        digest = stakes.findingDigest(provider, FINDING, 19 * USD);
        refuses(abi.encodeWithSelector(IStakes.ApprovalInvalid.selector, all[0].auditor, digest));
        stakes.propose(provider, FINDING, 19 * USD, all);
    }

    function test_findingsHoldBackAFifthOfAStakeAtMostAndTheRestLeaves() public {
        staked(100 * USD);
        IStakes.Approval[] memory all = approvals(3, stakes.findingDigest(provider, FINDING, 20 * USD + 1));
        refuses(abi.encodeWithSelector(IStakes.FindingAboveCap.selector, provider, 20 * USD + 1, 20 * USD));
        stakes.propose(provider, FINDING, 20 * USD + 1, all);
        vm.prank(provider);
        stakes.unbond(100 * USD);
        vm.warp(START + UNBONDING);
        propose(20 * USD);
        vm.startPrank(provider);
        refuses(abi.encodeWithSelector(IStakes.StakeFrozen.selector, provider, 80 * USD + 1, 80 * USD));
        stakes.withdraw(provider, 80 * USD + 1);
        stakes.withdraw(provider, 80 * USD);
        vm.stopPrank();
    }

    function test_aFindingAfterEvidenceTakesWhatIsLeft() public {
        staked(3);
        bytes32 other = keccak256("another finding");
        vm.prank(provider);
        stakes.stake(provider, 97);
        propose(20);
        slashReceipts(receipt(1, "a"), receipt(1, "b"));
        slashReceipts(receipt(2, "a"), receipt(2, "b"));
        slashReceipts(receipt(3, "a"), receipt(3, "b"));
        eq(stakes.providerOf(provider).bonded, 13, "half of it thrice");
        vm.warp(START + 4 days);
        stakes.execute(FINDING);
        eq(stakes.providerOf(provider).bonded, 0, "no more than there is");
        IStakes.Approval[] memory all = approvals(3, stakes.findingDigest(provider, other, 1));
        refuses(abi.encodeWithSelector(IStakes.FindingAboveCap.selector, provider, uint256(1), uint256(0)));
        stakes.propose(provider, other, 1, all);
    }

    // Terms

    function test_unbondingIsLongerThanAuditAndDispute() public {
        IStakes.Terms[10] memory bad;
        for (uint256 i = 0; i < 10; i++) {
            bad[i] = stakeTerms();
        }
        bad[0].unbonding = 14 days;
        bad[1].unbonding = 90 days + 1;
        bad[2].appealWindow = 1 hours - 1;
        bad[3].confirmWindow = 1 hours - 1;
        bad[4].evidenceBps = 0;
        bad[5].evidenceBps = 10_001;
        bad[6].reporterBps = 5001;
        bad[7].appealQuorum = 3;
        bad[8].pool = address(0);
        bad[9].quorum = 0;
        address[] memory auditors = new address[](5);
        for (uint256 i = 0; i < 5; i++) {
            auditors[i] = vm.addr(auditorKeys[i]);
        }
        for (uint256 i = 0; i < 10; i++) {
            refuses(abi.encodeWithSelector(IStakes.TermsInvalid.selector, bad[i]));
            new Stakes(usdc, guardian, bad[i], auditors);
        }
        auditors[3] = auditors[4] = auditors[0];
        IStakes.Terms memory good = stakeTerms();
        refuses(abi.encodeWithSelector(IStakes.AuditorsInvalid.selector, uint256(3), uint8(4)));
        new Stakes(usdc, guardian, good, auditors);
    }

    function test_anAuditorMayBeAWallet() public {
        address[] memory auditors = new address[](2);
        auditors[0] = address(new Wallet(stranger));
        auditors[1] = stranger;
        IStakes.Terms memory good = stakeTerms();
        (good.quorum, good.appealQuorum) = (1, 2);
        stakes = new Stakes(usdc, guardian, good, auditors);
        rich(provider);
        staked(100 * USD);
        IStakes.Approval[] memory one = new IStakes.Approval[](1);
        one[0] = IStakes.Approval(auditors[0], signed(STRANGER_KEY, stakes.findingDigest(provider, FINDING, 20 * USD)));
        stakes.propose(provider, FINDING, 20 * USD, one);
        eq(stakes.providerOf(provider).frozen, 20 * USD, "by EIP-1271");
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
