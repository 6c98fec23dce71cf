// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {JobKit} from "./kit/JobKit.sol";
import {Kit} from "./kit/Kit.sol";
import {RewardKit, ToldOracle} from "./kit/RewardKit.sol";

/// @dev As Gas.t.sol measures: what jobs and rewards cost.
/// forge-config: default.isolate = true
contract WorkGasTest is JobKit, RewardKit {
    function setUp() public override(JobKit, Kit) {
        JobKit.setUp();
        oracle = new ToldOracle();
    }

    function measured(string memory name) private {
        vm.snapshotGasLastCall("gas", name);
    }

    function test_jobs() public {
        uint256 id = created(EVALUATOR, jobTerms());
        measured("job creation");
        vm.prank(EVALUATOR);
        jobs.postBond(id);
        measured("job bond");
        vm.prank(provider);
        jobs.setBudget(id, BUDGET);
        measured("job budget");
        vm.prank(tenant);
        jobs.fund(id, BUDGET);
        measured("job funding");
        submit(id);
        measured("job submission");
        vm.prank(EVALUATOR);
        jobs.complete(id, WHY);
        measured("job verdict");
        vm.prank(tenant);
        jobs.execute(id);
        measured("job payment");
    }

    function test_jobDispute() public {
        uint256 id = submitted();
        vm.prank(EVALUATOR);
        jobs.reject(id, WHY);
        dispute(id, provider);
        measured("job dispute");
        vote(id, 0, true);
        measured("job panel vote");
        vote(id, 1, true);
        measured("job panel vote that decides, of 3");
    }

    function test_rewards() public {
        rewards = deploy(burnTerms());
        told(2 * NANO);
        rewards.observe();
        vm.warp(block.timestamp + TWAP / 2);
        told(2 * NANO);
        rewards.observe();
        measured("reward price observed");
        vm.warp(block.timestamp + TWAP / 2);
        steady(2 * NANO);
        uint256 burned = rewards.twap();
        vm.prank(PAYER);
        rewards.burn(uint128(10 * burned), type(uint256).max, 0);
        measured("reward burn");
        over(0);
        steady(2 * NANO);
        bytes32[] memory proof = earned(0, 1e18);
        measured("reward root");
        counts();
        rewards.claim(provider, 1e18, proof);
        measured("reward claim, first of 2 leaves");
    }
}
