// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Jobs} from "../src/Jobs.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IJobs} from "../src/interfaces/IJobs.sol";
import {JobKit} from "./kit/JobKit.sol";

/// @dev A token whose issuer blocks addresses, as those of dollars do.
contract BlockingToken is ERC20("Blocking", "B") {
    mapping(address => bool) public blocked;

    error Blocked(address account);

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setBlocked(address account, bool value) external {
        blocked[account] = value;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (blocked[to]) revert Blocked(to);
        super._update(from, to, amount);
    }
}

contract JobPanelsTest is JobKit {
    uint256 private constant EACH = FEE / 3;

    uint256 private client;
    uint256 private worker;
    uint256 private judgeHad;

    /// @dev What each has from now on is compared with this.
    function mark() private {
        client = usdc.balanceOf(tenant);
        worker = usdc.balanceOf(provider);
        judgeHad = usdc.balanceOf(EVALUATOR);
    }

    function got(uint256 toProvider, uint256 toClient, uint256 toEvaluator, uint256 votes) private view {
        eq(usdc.balanceOf(provider) - worker, toProvider, "provider");
        eq(usdc.balanceOf(tenant) - client, toClient, "client");
        eq(usdc.balanceOf(EVALUATOR) - judgeHad, toEvaluator, "evaluator");
        uint256 panel = usdc.balanceOf(seat(0)) + usdc.balanceOf(seat(1)) + usdc.balanceOf(seat(2));
        eq(panel, votes * EACH, "panel");
        eq(jobs.held(), 0, "all is paid out");
        eq(usdc.balanceOf(address(jobs)), 0, "nothing stays");
    }

    // A silent evaluator

    function test_aSilentEvaluatorLosesItsBondAndThePanelDecides() public {
        uint256 id = submitted();
        uint256 until = START + EVALUATION;
        vm.warp(until);
        refuses(abi.encodeWithSelector(IJobs.DeadlineNotPassed.selector, id, until, until));
        jobs.escalate(id);
        vm.warp(until + 1);
        vm.prank(EVALUATOR);
        refuses(abi.encodeWithSelector(IJobs.DeadlinePassed.selector, id, until, until + 1));
        jobs.complete(id, WHY);
        vm.prank(stranger);
        jobs.escalate(id);
        mark();
        vote(id, 2, true);
        vm.prank(seat(2));
        refuses(abi.encodeWithSelector(IJobs.VotedAlready.selector, id, seat(2)));
        jobs.vote(id, true, WHY);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IJobs.NotAllowed.selector, id, stranger));
        jobs.vote(id, true, WHY);
        vote(id, 0, true);
        eq(statusOf(id), uint256(IJobs.Status.Completed), "completed");
        uint256 rest = BOND - 2 * EACH;
        got(BUDGET + rest / 2, rest / 2, 0, 2);
    }

    function test_whenAllAreSilentTheSplitPaysBoth() public {
        uint256 id = escalated();
        mark();
        uint256 until = START + EVALUATION + 1 + PANEL;
        vm.warp(until);
        refuses(abi.encodeWithSelector(IJobs.DeadlineNotPassed.selector, id, until, until));
        jobs.execute(id);
        vm.warp(until + 1);
        vm.prank(seat(0));
        refuses(abi.encodeWithSelector(IJobs.DeadlinePassed.selector, id, until, until + 1));
        jobs.vote(id, true, WHY);
        vm.prank(stranger);
        jobs.execute(id);
        eq(statusOf(id), uint256(IJobs.Status.Expired), "expired");
        got((BUDGET + BOND) / 2, (BUDGET + BOND) / 2, 0, 0);
    }

    function test_aSplitThatWasAgreedIsTheOnePaid() public {
        IJobs.Terms memory agreement = jobTerms();
        agreement.providerBps = 9_999;
        uint256 id = funded(EVALUATOR, agreement, BUDGET);
        submit(id);
        later(EVALUATION + 1);
        jobs.escalate(id);
        later(PANEL + 1);
        mark();
        jobs.execute(id);
        uint256 part = uint256(BUDGET) * 9_999 / 10_000 + uint256(BOND) * 9_999 / 10_000;
        got(part, BUDGET + BOND - part, 0, 0);
    }

    function test_aPanelWithoutAMajorityIsPaidForItsVotesAndTheSplitHolds() public {
        uint256 id = escalated();
        vote(id, 0, true);
        vote(id, 1, false);
        later(PANEL + 1);
        mark();
        jobs.execute(id);
        uint256 rest = BOND - 2 * EACH;
        got((BUDGET + rest) / 2, (BUDGET + rest) / 2, 0, 2);
    }

    function test_aClientThatIsASilentEvaluatorLosesItsBondToTheProvider() public {
        uint256 id = funded(tenant, jobTerms(), BUDGET);
        submit(id);
        later(EVALUATION + 1);
        jobs.escalate(id);
        later(PANEL + 1);
        mark();
        jobs.execute(id);
        got(BUDGET / 2 + BOND, BUDGET / 2, 0, 0);
    }

    // Disputes

    function test_aProviderDisputesARejectionAndWins() public {
        uint256 id = submitted();
        judge(id, false);
        vm.prank(tenant);
        refuses(abi.encodeWithSelector(IJobs.NotAllowed.selector, id, tenant));
        jobs.dispute(id);
        dispute(id, provider);
        mark();
        vote(id, 0, true);
        vote(id, 1, false);
        vote(id, 2, true);
        eq(statusOf(id), uint256(IJobs.Status.Completed), "overruled");
        got(BUDGET + DEPOSIT, 0, BOND - FEE, 3);
    }

    function test_aProviderDisputesARejectionAndLoses() public {
        uint256 id = submitted();
        judge(id, false);
        dispute(id, provider);
        mark();
        vote(id, 0, false);
        vote(id, 1, false);
        eq(statusOf(id), uint256(IJobs.Status.Rejected), "upheld");
        got(0, BUDGET + DEPOSIT - 2 * EACH, BOND, 2);
    }

    function test_aClientDisputesACompletionAndWins() public {
        uint256 id = submitted();
        judge(id, true);
        dispute(id, tenant);
        mark();
        vote(id, 0, false);
        vote(id, 1, false);
        got(0, BUDGET + DEPOSIT, BOND - 2 * EACH, 2);
    }

    function test_aClientDisputesACompletionAndLoses() public {
        uint256 id = submitted();
        judge(id, true);
        dispute(id, tenant);
        mark();
        vote(id, 1, true);
        vote(id, 2, true);
        got(BUDGET + DEPOSIT - 2 * EACH, 0, BOND, 2);
    }

    function test_aPanelWithoutAMajorityLeavesTheVerdictAndGivesTheDepositBack() public {
        uint256 id = submitted();
        judge(id, true);
        dispute(id, tenant);
        vote(id, 0, false);
        later(PANEL + 1);
        mark();
        jobs.execute(id);
        eq(statusOf(id), uint256(IJobs.Status.Completed), "the verdict holds");
        got(BUDGET, DEPOSIT - EACH, BOND, 1);
    }

    function test_aDisputeIsNotOpenedTwiceNorExecutedBeforeThePanelHasSpoken() public {
        uint256 id = submitted();
        judge(id, false);
        dispute(id, provider);
        bytes memory refusal = abi.encodeWithSelector(IJobs.JobState.selector, id, IJobs.Status.Submitted, IJobs.Stage.Panel);
        vm.prank(provider);
        refuses(refusal);
        jobs.dispute(id);
        refuses(refusal);
        jobs.escalate(id);
        vm.prank(EVALUATOR);
        refuses(refusal);
        jobs.complete(id, WHY);
        vm.prank(provider);
        refuses(abi.encodeWithSelector(IJobs.DeadlineNotPassed.selector, id, START + PANEL, START));
        jobs.execute(id);
    }

    // Those whom the token does not pay

    function test_aBlockedPartyHoldsUpNobody() public {
        BlockingToken token = new BlockingToken();
        jobs = new Jobs(token, guardian);
        address[3] memory payers = [tenant, provider, EVALUATOR];
        for (uint256 i = 0; i < 3; i++) {
            token.mint(payers[i], 1000 * USD);
            vm.prank(payers[i]);
            token.approve(address(jobs), type(uint256).max);
        }
        uint256 id = submitted();
        later(EVALUATION + 1);
        jobs.escalate(id);
        vote(id, 0, true);
        token.setBlocked(provider, true);
        vote(id, 1, true);
        uint256 due = BUDGET + (BOND - 2 * EACH) / 2;
        eq(token.balanceOf(tenant), 900 * USD + (BOND - 2 * EACH) / 2, "the client has its part of the bond");
        eq(jobs.creditOf(provider), due, "the provider's waits");
        eq(jobs.held(), due, "and is here");
        vm.startPrank(provider);
        refuses(abi.encodeWithSelector(IJobs.CreditTooLow.selector, provider, due, due + 1));
        jobs.withdrawCredit(stranger, due + 1);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        jobs.withdrawCredit(stranger, 0);
        jobs.withdrawCredit(stranger, due);
        vm.stopPrank();
        eq(token.balanceOf(stranger), due, "to another address");
        eq(jobs.held(), 0, "nothing is left");
    }

    // Whatever the numbers

    struct Numbers {
        uint128 budget;
        uint128 bond;
        uint128 fee;
        uint128 deposit;
        uint16 bps;
        uint8 panel;
    }

    function agreementOf(Numbers memory n) private pure returns (IJobs.Terms memory agreement) {
        agreement = jobTerms();
        agreement.panelFee = uint128(bound(n.fee, 0, 1000 * USD));
        agreement.bond = uint128(bound(n.bond, agreement.panelFee + 1, 2000 * USD));
        agreement.disputeDeposit = uint128(bound(n.deposit, agreement.panelFee + 1, 2000 * USD));
        agreement.providerBps = n.bps % 10_000;
        agreement.panel = panelOf(1 + 2 * (n.panel % 4));
    }

    function paidToPanel() private view returns (uint256 sum) {
        for (uint256 i = 0; i < 7; i++) {
            sum += usdc.balanceOf(seat(i));
        }
    }

    /// @dev verdict: 0 none, 1 complete, 2 reject. votes: for each seat 0 none, 1 complete, 2 reject.
    function testFuzz_whatIsPaidOutIsWhatWasPutIn(Numbers memory n, uint8 verdict, bool disputed, uint8[7] memory votes) public {
        uint128 budget = uint128(bound(n.budget, 1, 900_000 * USD));
        IJobs.Terms memory agreement = agreementOf(n);
        uint256 id = funded(EVALUATOR, agreement, budget);
        submit(id);
        verdict %= 3;
        uint256 deposit = 0;
        if (verdict == 0) {
            later(EVALUATION + 1);
            jobs.escalate(id);
        } else {
            judge(id, verdict == 1);
            if (disputed) {
                dispute(id, verdict == 1 ? tenant : provider);
                deposit = agreement.disputeDeposit;
            }
        }
        mark();
        for (uint256 i = 0; i < agreement.panel.length && jobs.getJob(id).stage == IJobs.Stage.Panel; i++) {
            if (votes[i] % 3 != 0) vote(id, i, votes[i] % 3 == 1);
        }
        bool byTime = jobs.getJob(id).stage != IJobs.Stage.None;
        later(PANEL + 1);
        if (byTime) {
            vm.prank(stranger);
            jobs.execute(id);
        }
        uint256 toProvider = usdc.balanceOf(provider) - worker;
        uint256 toClient = usdc.balanceOf(tenant) - client;
        uint256 toEvaluator = usdc.balanceOf(EVALUATOR) - judgeHad;
        uint256 all = uint256(budget) + agreement.bond + deposit;
        eq(toProvider + toClient + toEvaluator + paidToPanel(), all, "everything, and no more");
        eq(jobs.held(), 0, "nothing is left");
        vm.assertTrue(paidToPanel() <= agreement.panelFee, "no more than the fee to the panel");
        if (verdict == 0) {
            eq(toEvaluator, 0, "silence costs the bond");
            if (byTime) {
                uint256 bps = agreement.providerBps == 0 ? 5000 : agreement.providerBps;
                vm.assertTrue(toProvider >= budget * bps / 10_000, "not less than the split for the provider");
                vm.assertTrue(toClient >= budget - budget * bps / 10_000, "nor for the client");
            }
        } else {
            vm.assertTrue(toEvaluator + agreement.panelFee >= agreement.bond, "a verdict in time costs the fee at most");
        }
    }
}
