// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Jobs} from "../../src/Jobs.sol";
import {IJobs} from "../../src/interfaces/IJobs.sol";
import {Kit} from "./Kit.sol";

/// @dev The tenant is the client. Seats of the panel are 0xba01, 0xba02, …
abstract contract JobKit is Kit {
    uint128 internal constant BUDGET = 100 * USD;
    uint128 internal constant BOND = 12 * USD;
    uint128 internal constant FEE = 9 * USD;
    uint128 internal constant DEPOSIT = 10 * USD;
    uint256 internal constant EXPIRY = START + 7 days;
    uint40 internal constant EVALUATION = 2 days;
    uint40 internal constant APPEAL = 1 days;
    uint40 internal constant PANEL = 3 days;
    bytes32 internal constant WORK = keccak256("the work");
    bytes32 internal constant WHY = keccak256("why");

    address internal constant EVALUATOR = address(0xe7a1);

    Jobs internal jobs;

    function setUp() public virtual override {
        super.setUp();
        jobs = new Jobs(usdc, guardian);
        address[4] memory payers = [tenant, provider, EVALUATOR, stranger];
        for (uint256 i = 0; i < payers.length; i++) {
            usdc.mint(payers[i], 1_000_000 * USD);
            approveJobs(payers[i]);
        }
    }

    function approveJobs(address account) internal {
        vm.prank(account);
        usdc.approve(address(jobs), type(uint256).max);
    }

    function seat(uint256 i) internal pure returns (address) {
        return address(uint160(0xba01 + i));
    }

    function panelOf(uint256 count) internal pure returns (address[] memory panel) {
        panel = new address[](count);
        for (uint256 i = 0; i < count; i++) {
            panel[i] = seat(i);
        }
    }

    function jobTerms() internal pure returns (IJobs.Terms memory) {
        return IJobs.Terms({
            bond: BOND,
            panelFee: FEE,
            disputeDeposit: DEPOSIT,
            evaluationWindow: EVALUATION,
            disputeWindow: APPEAL,
            panelWindow: PANEL,
            providerBps: 0,
            panel: panelOf(3)
        });
    }

    function created(address evaluator, IJobs.Terms memory agreement) internal returns (uint256 id) {
        vm.prank(tenant);
        id = jobs.createJob(provider, evaluator, EXPIRY, "fine-tune it", agreement);
    }

    function bonded(address evaluator, IJobs.Terms memory agreement) internal returns (uint256 id) {
        id = created(evaluator, agreement);
        vm.prank(evaluator);
        jobs.postBond(id);
    }

    function funded(address evaluator, IJobs.Terms memory agreement, uint128 budget) internal returns (uint256 id) {
        id = bonded(evaluator, agreement);
        vm.prank(provider);
        jobs.setBudget(id, budget);
        vm.prank(tenant);
        jobs.fund(id, budget);
    }

    function submitted() internal returns (uint256 id) {
        id = funded(EVALUATOR, jobTerms(), BUDGET);
        submit(id);
    }

    function submit(uint256 id) internal {
        vm.prank(provider);
        jobs.submit(id, WORK);
    }

    function judge(uint256 id, bool completed) internal {
        vm.prank(jobs.getJob(id).evaluator);
        if (completed) jobs.complete(id, WHY);
        else jobs.reject(id, WHY);
    }

    function dispute(uint256 id, address by) internal {
        vm.prank(by);
        jobs.dispute(id);
    }

    function vote(uint256 id, uint256 i, bool completed) internal {
        vm.prank(seat(i));
        jobs.vote(id, completed, WHY);
    }

    function escalated() internal returns (uint256 id) {
        id = submitted();
        vm.warp(START + EVALUATION + 1);
        jobs.escalate(id);
    }

    function later(uint256 time) internal {
        vm.warp(block.timestamp + time);
    }

    function statusOf(uint256 id) internal view returns (uint256) {
        return uint256(jobs.getJob(id).status);
    }
}
