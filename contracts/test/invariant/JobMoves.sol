// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IJobs} from "../../src/interfaces/IJobs.sol";
import {MockUSDC} from "../../src/test-money/MockUSDC.sol";
import {JobKit} from "../kit/JobKit.sol";

/// @dev Three clients, three providers and three evaluators, one of them a client, agree, work, judge, dispute and are silent. What
/// is in each job is kept here, without asking the contract.
contract JobMoves is JobKit {
    uint256 private constant MOST = 8;

    uint256[] private _ids;
    /// @dev What is in the job, all that came in for it.
    mapping(uint256 id => uint256) public inside;
    bool public splitKept = true;

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

    function create(uint8 who, uint128 bond, uint128 fee, uint16 bps, uint8 seats) external {
        if (_ids.length == MOST) return;
        IJobs.Terms memory agreement = jobTerms();
        agreement.panelFee = uint128(bound(fee, 0, 10 * USD));
        agreement.bond = uint128(bound(bond, agreement.panelFee + 1, 20 * USD));
        agreement.disputeDeposit = agreement.panelFee + 1;
        agreement.providerBps = bps % 10_000;
        agreement.panel = panelOf(1 + 2 * (seats % 4));
        address client = party(who % 3);
        address evaluator = who % 2 == 0 ? client : party(6 + who % 3);
        vm.prank(client);
        _ids.push(jobs.createJob(party(3 + who % 3), evaluator, block.timestamp + 3 days, "", agreement));
    }

    function pick(uint8 i) private view returns (uint256 id, IJobs.Job memory job) {
        if (_ids.length == 0) return (0, job);
        id = _ids[i % _ids.length];
        job = jobs.getJob(id);
    }

    function come(uint8 i) external {
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

    function fund(uint8 i) external {
        (uint256 id, IJobs.Job memory job) = pick(i);
        bool ready = job.status == IJobs.Status.Open && job.agreed && job.bonded && block.timestamp < job.expiredAt;
        if (id == 0 || !ready) return;
        vm.prank(job.client);
        jobs.fund(id, job.budget);
        inside[id] += job.budget;
    }

    function deliver(uint8 i) external {
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
        vote(id, chair, completed);
        if (jobs.getJob(id).stage == IJobs.Stage.None) inside[id] = 0;
    }

    function cancel(uint8 i) external {
        (uint256 id, IJobs.Job memory job) = pick(i);
        if (id == 0 || i % 8 != 0 || job.status != IJobs.Status.Open) return;
        vm.prank(job.client);
        jobs.reject(id, WHY);
        inside[id] = 0;
    }

    /// @dev What time alone has made due, by a stranger.
    function push(uint8 i) public {
        (uint256 id, IJobs.Job memory job) = pick(i);
        if (id == 0) return;
        bool waits = job.status == IJobs.Status.Open || job.status == IJobs.Status.Funded;
        vm.startPrank(address(0x57a));
        if (waits && block.timestamp >= job.expiredAt) {
            jobs.claimRefund(id);
            inside[id] = 0;
        } else if (job.stage != IJobs.Stage.None && block.timestamp > job.deadline) {
            if (job.stage == IJobs.Stage.Evaluation) jobs.escalate(id);
            else end(id, job);
        }
        vm.stopPrank();
    }

    function end(uint256 id, IJobs.Job memory job) private {
        uint256 client = usdc.balanceOf(job.client);
        uint256 worker = usdc.balanceOf(job.provider);
        jobs.execute(id);
        inside[id] = 0;
        if (job.verdict != IJobs.Verdict.None) return;
        uint256 bps = jobs.termsOf(id).providerBps;
        uint256 part = job.budget * (bps == 0 ? 5000 : bps) / 10_000;
        bool kept = usdc.balanceOf(job.provider) - worker >= part && usdc.balanceOf(job.client) - client >= job.budget - part;
        if (!kept) splitKept = false;
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
                push(uint8(i));
            }
        }
        for (uint256 i = 0; i < _ids.length; i++) {
            if (jobs.getJob(_ids[i]).status < IJobs.Status.Completed) unfinished++;
        }
    }
}
