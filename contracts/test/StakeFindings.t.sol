// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Stakes} from "../src/Stakes.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IStakes} from "../src/interfaces/IStakes.sol";
import {Wallet} from "./kit/Kit.sol";
import {StakeKit} from "./kit/StakeKit.sol";

contract StakeFindingsTest is StakeKit {
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
}
