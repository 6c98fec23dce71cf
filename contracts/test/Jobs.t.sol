// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {Jobs} from "../src/Jobs.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IJobs} from "../src/interfaces/IJobs.sol";
import {JobKit} from "./kit/JobKit.sol";

contract JobsTest is JobKit {
    function state(uint256 id, IJobs.Status status, IJobs.Stage stage) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IJobs.JobState.selector, id, status, stage);
    }

    function notAllowed(uint256 id, address caller) private {
        vm.prank(caller);
        refuses(abi.encodeWithSelector(IJobs.NotAllowed.selector, id, caller));
    }

    // Coming to an agreement

    function test_aJobIsCreatedAgreedBondedAndFunded() public {
        vm.prank(tenant);
        uint256 id = jobs.createJob(address(0), EVALUATOR, EXPIRY, "fine-tune it", jobTerms());
        eq(id, 1, "the first");
        notAllowed(id, stranger);
        jobs.setProvider(id, provider);
        vm.prank(tenant);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
        jobs.setProvider(id, address(0));
        vm.startPrank(tenant);
        jobs.setBudget(id, BUDGET);
        refuses(abi.encodeWithSelector(IJobs.ProviderMissing.selector, id));
        jobs.fund(id, BUDGET);
        jobs.setProvider(id, provider);
        refuses(abi.encodeWithSelector(IJobs.ProviderIsSet.selector, id, provider));
        jobs.setProvider(id, stranger);
        refuses(abi.encodeWithSelector(IJobs.BudgetNotAgreed.selector, id, provider, BUDGET));
        jobs.fund(id, BUDGET);
        vm.stopPrank();
        vm.prank(provider);
        jobs.setBudget(id, BUDGET);
        vm.startPrank(tenant);
        refuses(abi.encodeWithSelector(IJobs.BondMissing.selector, id, EVALUATOR));
        jobs.fund(id, BUDGET);
        vm.stopPrank();
        vm.prank(EVALUATOR);
        jobs.postBond(id);
        vm.startPrank(tenant);
        refuses(abi.encodeWithSelector(IJobs.BudgetMismatch.selector, id, BUDGET, BUDGET + 1));
        jobs.fund(id, BUDGET + 1);
        jobs.fund(id, BUDGET);
        vm.stopPrank();
        eq(statusOf(id), uint256(IJobs.Status.Funded), "funded");
        eq(jobs.held(), BUDGET + BOND, "both are here");
        vm.prank(tenant);
        refuses(state(id, IJobs.Status.Funded, IJobs.Stage.None));
        jobs.setBudget(id, 1);
    }

    function test_theClientCannotFundABudgetThatTheProviderDidNotSet() public {
        uint256 id = bonded(EVALUATOR, jobTerms());
        vm.prank(provider);
        jobs.setBudget(id, BUDGET);
        vm.startPrank(tenant);
        jobs.setBudget(id, BUDGET);
        jobs.setBudget(id, 1);
        refuses(abi.encodeWithSelector(IJobs.BudgetNotAgreed.selector, id, provider, 1));
        jobs.fund(id, 1);
        jobs.setBudget(id, 0);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        jobs.fund(id, 0);
        vm.stopPrank();
        notAllowed(id, stranger);
        jobs.setBudget(id, BUDGET);
        notAllowed(id, stranger);
        jobs.fund(id, BUDGET);
    }

    function test_theEvaluatorTakesItsBondBackWhileTheJobIsOpen() public {
        uint256 id = bonded(EVALUATOR, jobTerms());
        vm.prank(EVALUATOR);
        refuses(abi.encodeWithSelector(IJobs.BondIsPosted.selector, id, EVALUATOR));
        jobs.postBond(id);
        notAllowed(id, stranger);
        jobs.withdrawBond(id);
        uint256 before = usdc.balanceOf(EVALUATOR);
        vm.startPrank(EVALUATOR);
        jobs.withdrawBond(id);
        eq(usdc.balanceOf(EVALUATOR) - before, BOND, "back");
        refuses(abi.encodeWithSelector(IJobs.BondMissing.selector, id, EVALUATOR));
        jobs.withdrawBond(id);
        vm.stopPrank();
        notAllowed(id, stranger);
        jobs.postBond(id);
    }

    function test_theClientEndsAnOpenJob() public {
        uint256 id = bonded(EVALUATOR, jobTerms());
        notAllowed(id, EVALUATOR);
        jobs.reject(id, WHY);
        uint256 before = usdc.balanceOf(EVALUATOR);
        vm.prank(tenant);
        jobs.reject(id, WHY);
        eq(statusOf(id), uint256(IJobs.Status.Rejected), "rejected");
        eq(usdc.balanceOf(EVALUATOR) - before, BOND, "the bond goes back");
        eq(jobs.held(), 0, "nothing is here");
        vm.warp(EXPIRY);
        refuses(state(id, IJobs.Status.Rejected, IJobs.Stage.None));
        jobs.claimRefund(id);
    }

    function test_anOpenJobThatExpiresGivesTheBondBack() public {
        uint256 id = bonded(EVALUATOR, jobTerms());
        vm.prank(provider);
        jobs.setBudget(id, BUDGET);
        vm.warp(EXPIRY);
        vm.prank(tenant);
        refuses(abi.encodeWithSelector(IJobs.DeadlinePassed.selector, id, EXPIRY, EXPIRY));
        jobs.fund(id, BUDGET);
        uint256 before = usdc.balanceOf(EVALUATOR);
        vm.prank(stranger);
        jobs.claimRefund(id);
        eq(usdc.balanceOf(EVALUATOR) - before, BOND, "back");
    }

    function test_refusesJobsThatWereNeverCreated() public {
        bytes memory none = state(7, IJobs.Status.Open, IJobs.Stage.None);
        refuses(none);
        jobs.claimRefund(7);
        refuses(none);
        jobs.execute(7);
        refuses(none);
        jobs.setBudget(7, 1);
        refuses(none);
        jobs.reject(7, 0);
    }

    // Terms

    function test_refusesTermsThatProtectNobody() public {
        IJobs.Terms[12] memory bad;
        for (uint256 i = 0; i < 12; i++) {
            bad[i] = jobTerms();
        }
        bad[0].bond = FEE - 1;
        bad[1].disputeDeposit = FEE - 1;
        bad[2].evaluationWindow = 1 hours - 1;
        bad[3].disputeWindow = 1 hours - 1;
        bad[4].panelWindow = 1 hours - 1;
        bad[5].evaluationWindow = 30 days + 1;
        bad[6].disputeWindow = 30 days + 1;
        bad[7].panelWindow = 30 days + 1;
        bad[8].providerBps = 10_000;
        bad[9].panel = panelOf(2);
        bad[10].panel = panelOf(9);
        (bad[11].panelFee, bad[11].bond) = (0, 0);
        for (uint256 i = 0; i < 12; i++) {
            vm.prank(tenant);
            refuses(abi.encodeWithSelector(IJobs.TermsInvalid.selector, bad[i]));
            jobs.createJob(provider, EVALUATOR, EXPIRY, "", bad[i]);
        }
    }

    function test_refusesPanelsThatAreNotApart() public {
        address[4] memory wrong = [seat(0), tenant, EVALUATOR, provider];
        for (uint256 i = 0; i < 4; i++) {
            IJobs.Terms memory agreement = jobTerms();
            // Seats lie below all parties' addresses, so the wrong one stays in order.
            agreement.panel[i == 0 ? 1 : 2] = wrong[i];
            vm.prank(tenant);
            refuses(abi.encodeWithSelector(IJobs.PanelInvalid.selector, wrong[i]));
            jobs.createJob(provider, EVALUATOR, EXPIRY, "", agreement);
        }
    }

    function test_refusesPartiesThatAreOne() public {
        vm.startPrank(tenant);
        refuses(abi.encodeWithSelector(IJobs.PartiesOverlap.selector, tenant));
        jobs.createJob(tenant, EVALUATOR, EXPIRY, "", jobTerms());
        refuses(abi.encodeWithSelector(IJobs.PartiesOverlap.selector, provider));
        jobs.createJob(provider, provider, EXPIRY, "", jobTerms());
        refuses(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
        jobs.createJob(provider, address(0), EXPIRY, "", jobTerms());
        vm.stopPrank();
    }

    function test_refusesExpiryInThePastOrBeyondAYear() public {
        vm.startPrank(tenant);
        refuses(abi.encodeWithSelector(IJobs.ExpiryInvalid.selector, START, START, START + 365 days));
        jobs.createJob(provider, EVALUATOR, START, "", jobTerms());
        refuses(abi.encodeWithSelector(IJobs.ExpiryInvalid.selector, START + 365 days + 1, START, START + 365 days));
        jobs.createJob(provider, EVALUATOR, START + 365 days + 1, "", jobTerms());
        jobs.createJob(provider, EVALUATOR, START + 365 days, string(new bytes(1024)), jobTerms());
        refuses(abi.encodeWithSelector(IJobs.DescriptionTooLong.selector, 1025, 1024));
        jobs.createJob(provider, EVALUATOR, EXPIRY, string(new bytes(1025)), jobTerms());
        vm.stopPrank();
    }

    // Work

    function test_whatWasNotSubmittedExpires() public {
        uint256 id = funded(EVALUATOR, jobTerms(), BUDGET);
        notAllowed(id, stranger);
        jobs.submit(id, WORK);
        vm.warp(EXPIRY - 1);
        refuses(abi.encodeWithSelector(IJobs.DeadlineNotPassed.selector, id, EXPIRY, EXPIRY - 1));
        jobs.claimRefund(id);
        vm.warp(EXPIRY);
        vm.prank(provider);
        refuses(abi.encodeWithSelector(IJobs.DeadlinePassed.selector, id, EXPIRY, EXPIRY));
        jobs.submit(id, WORK);
        uint256 client = usdc.balanceOf(tenant);
        uint256 evaluator = usdc.balanceOf(EVALUATOR);
        vm.prank(stranger);
        jobs.claimRefund(id);
        eq(usdc.balanceOf(tenant) - client, BUDGET, "the client's budget");
        eq(usdc.balanceOf(EVALUATOR) - evaluator, BOND, "the evaluator's bond");
        eq(statusOf(id), uint256(IJobs.Status.Expired), "expired");
    }

    function test_aSubmissionStopsExpiry() public {
        uint256 id = funded(EVALUATOR, jobTerms(), BUDGET);
        vm.warp(EXPIRY - 1);
        submit(id);
        vm.warp(EXPIRY + 1);
        refuses(state(id, IJobs.Status.Submitted, IJobs.Stage.Evaluation));
        jobs.claimRefund(id);
        eq(jobs.getJob(id).deadline, EXPIRY - 1 + EVALUATION, "the evaluator's time counts from the submission");
        vm.warp(EXPIRY - 1 + EVALUATION);
        judge(id, true);
        later(APPEAL + 1);
        jobs.execute(id);
        eq(statusOf(id), uint256(IJobs.Status.Completed), "paid, long after its expiry");
    }

    function test_nobodyButTheEvaluatorJudges() public {
        uint256 id = submitted();
        notAllowed(id, tenant);
        jobs.reject(id, WHY);
        notAllowed(id, provider);
        jobs.complete(id, WHY);
    }

    function test_aVerdictPaysOnlyWhenItCanNoLongerBeDisputed() public {
        uint256 id = submitted();
        uint256 before = usdc.balanceOf(provider);
        judge(id, true);
        uint256 until = START + APPEAL;
        vm.warp(until);
        refuses(abi.encodeWithSelector(IJobs.DeadlineNotPassed.selector, id, until, until));
        jobs.execute(id);
        vm.warp(until + 1);
        vm.prank(tenant);
        refuses(abi.encodeWithSelector(IJobs.DeadlinePassed.selector, id, until, until + 1));
        jobs.dispute(id);
        uint256 evaluator = usdc.balanceOf(EVALUATOR);
        vm.prank(stranger);
        jobs.execute(id);
        eq(usdc.balanceOf(provider) - before, BUDGET, "the provider has its budget");
        eq(usdc.balanceOf(EVALUATOR) - evaluator, BOND, "the evaluator its bond");
        refuses(state(id, IJobs.Status.Completed, IJobs.Stage.None));
        jobs.execute(id);
    }

    function test_theSideThatMayDisputeAcceptsAtOnce() public {
        uint256 id = submitted();
        judge(id, false);
        vm.prank(tenant);
        refuses(abi.encodeWithSelector(IJobs.DeadlineNotPassed.selector, id, START + APPEAL, START));
        jobs.execute(id);
        uint256 before = usdc.balanceOf(tenant);
        vm.prank(provider);
        jobs.execute(id);
        eq(usdc.balanceOf(tenant) - before, BUDGET, "refunded");
        eq(statusOf(id), uint256(IJobs.Status.Rejected), "rejected");
    }

    function test_aClientThatIsItsOwnEvaluatorCompletesAndPaysAtOnce() public {
        uint256 id = funded(tenant, jobTerms(), BUDGET);
        submit(id);
        uint256 before = usdc.balanceOf(provider);
        vm.startPrank(tenant);
        jobs.complete(id, WHY);
        jobs.execute(id);
        vm.stopPrank();
        eq(usdc.balanceOf(provider) - before, BUDGET, "paid");
    }

    // Pausing

    function test_pausingStopsDepositsAndNothingElse() public {
        uint256 open = created(EVALUATOR, jobTerms());
        uint256 id = submitted();
        vm.prank(guardian);
        jobs.pauseDeposits();
        vm.prank(EVALUATOR);
        refuses(abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        jobs.postBond(open);
        judge(id, false);
        dispute(id, provider);
        vote(id, 0, true);
        vote(id, 1, true);
        eq(statusOf(id), uint256(IJobs.Status.Completed), "everything else goes on");
    }
}
