// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IJobs} from "../../src/interfaces/IJobs.sol";
import {MockUSDC} from "../../src/test-money/MockUSDC.sol";
import {JobKit} from "../kit/JobKit.sol";

/// @dev Three clients, three providers and three evaluators, one of them a client, agree, work, judge, dispute and are silent. What
/// is in each job is kept here, without asking the contract.
contract JobMoves is JobKit {
    uint256 private constant MOST = 12;
    /// @dev Moves are about the last ones: most have something left to do.
    uint256 private constant LIVELY = 4;

    uint256[] private _ids;
    /// @dev What is in the job, all that came in for it.
    mapping(uint256 id => uint256) public inside;
    bool public fair = true;
    uint256 public endings;

    constructor() {
        setUp();
        for (uint256 i = 0; i < 9; i++) {
            usdc.mint(party(i), 1_000_000 * USD);
            approveJobs(party(i));
        }
    }

    function party(uint256 i) public pure returns (address) {
        return address(uint160(0xc11e00 + i));
    }

    function money() external view returns (MockUSDC) {
        return usdc;
    }

    function count() external view returns (uint256) {
        return _ids.length;
    }

    function held() external view returns (uint256) {
        return jobs.held();
    }

    function books() external view returns (uint256 sum) {
        for (uint256 i = 0; i < _ids.length; i++) {
            sum += inside[_ids[i]];
        }
    }

    function everybodysMoney() external view returns (uint256 sum) {
        for (uint256 i = 0; i < 9; i++) {
            sum += usdc.balanceOf(party(i));
        }
        for (uint256 i = 0; i < 7; i++) {
            sum += usdc.balanceOf(seat(i));
        }
        return sum + usdc.balanceOf(address(jobs));
    }

    function create(uint8 who, uint128 bond, uint128 fee, uint16 bps, uint8 seats) public returns (uint256 id) {
        if (_ids.length == MOST) return 0;
        IJobs.Terms memory agreement = jobTerms();
        agreement.panelFee = uint128(bound(fee, 0, 10 * USD));
        agreement.bond = uint128(bound(bond, agreement.panelFee + 1, 20 * USD));
        agreement.disputeDeposit = agreement.panelFee + 1;
        agreement.providerBps = bps % 10_000;
        agreement.panel = panelOf(1 + 2 * (seats % 4));
        address client = party(who % 3);
        address evaluator = who % 4 == 0 ? client : party(6 + who % 3);
        vm.prank(client);
        id = jobs.createJob(party(3 + who % 3), evaluator, block.timestamp + 3 days, "", agreement);
        _ids.push(id);
    }

    /// @dev All the way to the submission at once.
    function begin(uint8 who, uint128 bond, uint128 fee, uint16 bps, uint128 budget) external {
        uint256 id = create(who, bond, fee, bps, who);
        if (id == 0) return;
        come(0);
        IJobs.Job memory job = jobs.getJob(id);
        vm.prank(job.provider);
        jobs.setBudget(id, bound(budget, 1, 10_000 * USD));
        fund(0);
        deliver(0);
    }

    function pick(uint8 i) private view returns (uint256 id, IJobs.Job memory job) {
        if (_ids.length == 0) return (0, job);
        id = _ids[_ids.length - 1 - (i % (_ids.length < LIVELY ? _ids.length : LIVELY))];
        job = jobs.getJob(id);
    }

    function come(uint8 i) public {
        (uint256 id, IJobs.Job memory job) = pick(i);
        if (id == 0 || job.status != IJobs.Status.Open || (job.bonded && i % 16 != 0)) return;
        vm.prank(job.evaluator);
        if (job.bonded) jobs.withdrawBond(id);
        else jobs.postBond(id);
        inside[id] = job.bonded ? 0 : jobs.termsOf(id).bond;
    }

    function agree(uint8 i, uint128 amount) external {
        (uint256 id, IJobs.Job memory job) = pick(i);
        if (id == 0 || job.status != IJobs.Status.Open) return;
        vm.prank(amount % 5 == 0 ? job.client : job.provider);
        jobs.setBudget(id, bound(amount, 1, 10_000 * USD));
    }

    function fund(uint8 i) public {
        (uint256 id, IJobs.Job memory job) = pick(i);
        bool ready = job.status == IJobs.Status.Open && job.agreed && job.bonded && block.timestamp < job.expiredAt;
        if (id == 0 || !ready) return;
        vm.prank(job.client);
        jobs.fund(id, job.budget);
        inside[id] += job.budget;
    }

    function deliver(uint8 i) public {
        (uint256 id, IJobs.Job memory job) = pick(i);
        if (id == 0 || job.status != IJobs.Status.Funded || block.timestamp >= job.expiredAt) return;
        vm.prank(job.provider);
        jobs.submit(id, WORK);
    }

    function giveVerdict(uint8 i, bool completed) external {
        (uint256 id, IJobs.Job memory job) = pick(i);
        if (id == 0 || job.stage != IJobs.Stage.Evaluation || block.timestamp > job.deadline) return;
        judge(id, completed);
    }

    function fight(uint8 i) external {
        (uint256 id, IJobs.Job memory job) = pick(i);
        if (id == 0 || job.stage != IJobs.Stage.Appeal || block.timestamp > job.deadline) return;
        dispute(id, job.verdict == IJobs.Verdict.Complete ? job.client : job.provider);
        inside[id] += jobs.termsOf(id).disputeDeposit;
    }

    function cast(uint8 i, uint8 seat_, bool completed) external {
        (uint256 id, IJobs.Job memory job) = pick(i);
        if (id == 0 || job.stage != IJobs.Stage.Panel || block.timestamp > job.deadline) return;
        uint256 chair = seat_ % jobs.termsOf(id).panel.length;
        if (job.voted & (1 << chair) != 0) return;
        uint256[3] memory before = purses(job);
        vote(id, chair, completed);
        if (jobs.getJob(id).stage == IJobs.Stage.None) ended(id, job, before);
    }

    function cancel(uint8 i) external {
        (uint256 id, IJobs.Job memory job) = pick(i);
        if (id == 0 || i % 8 != 0 || job.status != IJobs.Status.Open) return;
        vm.prank(job.client);
        jobs.reject(id, WHY);
        inside[id] = 0;
    }

    function push(uint8 i) external {
        (uint256 id,) = pick(i);
        if (id != 0) pushJob(id);
    }

    /// @dev What time alone has made due, by a stranger.
    function pushJob(uint256 id) private {
        IJobs.Job memory job = jobs.getJob(id);
        bool waits = job.status == IJobs.Status.Open || job.status == IJobs.Status.Funded;
        vm.startPrank(address(0x57a));
        if (waits && block.timestamp >= job.expiredAt) {
            jobs.claimRefund(id);
            inside[id] = 0;
        } else if (job.stage == IJobs.Stage.Evaluation && block.timestamp > job.deadline) {
            jobs.escalate(id);
        } else if (job.stage != IJobs.Stage.None && block.timestamp > job.deadline) {
            uint256[3] memory before = purses(job);
            jobs.execute(id);
            ended(id, job, before);
        }
        vm.stopPrank();
    }

    function purses(IJobs.Job memory job) private view returns (uint256[3] memory) {
        return [usdc.balanceOf(job.provider), usdc.balanceOf(job.client), usdc.balanceOf(job.evaluator)];
    }

    /// @dev What each got, measured by what was agreed.
    function ended(uint256 id, IJobs.Job memory job, uint256[3] memory before) private {
        inside[id] = 0;
        endings++;
        uint256[3] memory now_ = purses(job);
        uint256 toProvider = now_[0] - before[0];
        uint256 toClient = now_[1] - before[1];
        IJobs.Terms memory agreement = jobs.termsOf(id);
        IJobs.Status status = jobs.getJob(id).status;
        if (status == IJobs.Status.Completed && toProvider < job.budget) fair = false;
        if (status == IJobs.Status.Rejected && toClient < job.budget) fair = false;
        bool silent = job.verdict == IJobs.Verdict.None;
        if (status == IJobs.Status.Expired) {
            uint256 part = job.budget * (agreement.providerBps == 0 ? 5000 : agreement.providerBps) / 10_000;
            if (!silent || toProvider < part || toClient < job.budget - part) fair = false;
        }
        // A client that is its own evaluator gets its parts together.
        if (job.evaluator == job.client) return;
        uint256 toEvaluator = now_[2] - before[2];
        if (silent ? toEvaluator != 0 : toEvaluator + agreement.panelFee < agreement.bond) fair = false;
        if (job.disputed) {
            // The loser of a dispute does not get its deposit back from a majority.
            bool provided = job.verdict == IJobs.Verdict.Complete;
            bool upheld = status == (provided ? IJobs.Status.Completed : IJobs.Status.Rejected);
            uint256 toLoser = provided ? toClient : toProvider;
            if (!upheld && toLoser < job.budget + agreement.disputeDeposit) fair = false;
            if (upheld && byMajority(id, provided) && toLoser != 0) fair = false;
        }
    }

    function byMajority(uint256 id, bool completed) private view returns (bool) {
        IJobs.Job memory job = jobs.getJob(id);
        return 2 * uint256(completed ? job.votesToComplete : job.votesToReject) > jobs.termsOf(id).panel.length;
    }

    function wait(uint32 time) external {
        vm.warp(block.timestamp + bound(time, 1, 1 days));
    }

    /// @dev Nobody but a stranger does anything any more, and deposits are paused. Three steps of time end every job.
    function everybodyIsSilent() external returns (uint256 unfinished) {
        vm.prank(guardian);
        jobs.pauseDeposits();
        for (uint256 round = 0; round < 3; round++) {
            vm.warp(block.timestamp + 31 days);
            for (uint256 i = 0; i < _ids.length; i++) {
                pushJob(_ids[i]);
            }
        }
        for (uint256 i = 0; i < _ids.length; i++) {
            if (jobs.getJob(_ids[i]).status < IJobs.Status.Completed) unfinished++;
        }
    }
}
