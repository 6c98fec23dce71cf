// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IStakes} from "../../src/interfaces/IStakes.sol";
import {World} from "./World.sol";

/// @dev Each party is a provider with one node, whose key is `NODE_KEY + i`.
abstract contract StakeMoves is World {
    uint64 private _slot;
    bytes32[] private _findings;

    constructor() {
        for (uint256 i = 0; i < PARTIES; i++) {
            address node_ = vm.addr(NODE_KEY + i);
            vm.prank(party(i));
            stakes.register(keccak256("a provider"));
            bytes memory signature = signed(NODE_KEY + i, stakes.nodeDigest(party(i), node_));
            vm.prank(party(i));
            stakes.addNode(node_, signature);
        }
    }

    function stakeAdd(uint8 i, uint128 amount) external {
        amount = some(amount, usdc.balanceOf(party(i)) / 4);
        if (amount == 0) return;
        vm.prank(party(i));
        stakes.stake(party(i), amount);
    }

    function stakeUnbond(uint8 i, uint128 amount) external {
        amount = some(amount, stakes.providerOf(party(i)).bonded);
        if (amount == 0) return;
        vm.prank(party(i));
        stakes.unbond(amount);
    }

    function freeOf(uint256 i) private view returns (uint128) {
        IStakes.Provider memory state = stakes.providerOf(party(i));
        if (block.timestamp < state.unbondedAt) return 0;
        uint128 all = state.bonded + state.unbonding;
        uint128 free = all > state.frozen ? all - state.frozen : 0;
        return free < state.unbonding ? free : state.unbonding;
    }

    function stakeWithdraw(uint8 i, uint128 amount) external {
        amount = some(amount, freeOf(i));
        if (amount == 0) return;
        vm.prank(party(i));
        stakes.withdraw(party(i), amount);
    }

    function stakeSlash(uint8 i, uint8 reporter) external {
        uint256 all = worthAtStake(i);
        uint256 amount = all / 2;
        if (amount == 0) return;
        uint256 key = NODE_KEY + (i % PARTIES);
        IStakes.Receipt memory one = IStakes.Receipt(vm.addr(key), gateway, _slot, keccak256("one"));
        IStakes.Receipt memory two = IStakes.Receipt(vm.addr(key), gateway, _slot++, keccak256("two"));
        bytes memory first = signed(key, stakes.receiptDigest(one));
        bytes memory second = signed(key, stakes.receiptDigest(two));
        vm.prank(party(reporter));
        stakes.slashDoubleReceipt(one, first, two, second);
        moves(i, reporter, amount / 10);
        movesToPool(i, amount - amount / 10);
    }

    function stakeAccuse(uint8 i, uint128 amount) external {
        uint256 cap = worthAtStake(i) / 5;
        uint256 frozen = stakes.providerOf(party(i)).frozen;
        amount = some(amount, cap > frozen ? cap - frozen : 0);
        if (amount == 0) return;
        bytes32 finding = keccak256(abi.encode("finding", _findings.length, block.timestamp));
        IStakes.Approval[] memory all = new IStakes.Approval[](3);
        bytes32 digest = stakes.findingDigest(party(i), finding, amount);
        for (uint256 j = 0; j < 3; j++) {
            all[j] = IStakes.Approval(vm.addr(auditorKeys[j]), signed(auditorKeys[j], digest));
        }
        if (stakes.caseOf(finding).state != IStakes.State.None) return;
        stakes.propose(party(i), finding, amount, all);
        _findings.push(finding);
    }

    function stakeAppeal(uint8 which) external {
        if (_findings.length == 0) return;
        bytes32 finding = _findings[which % _findings.length];
        IStakes.Case memory opened = stakes.caseOf(finding);
        if (opened.state != IStakes.State.Open || block.timestamp > opened.deadline) return;
        vm.prank(opened.provider);
        stakes.appeal(finding);
    }

    function stakeJudge(uint8 which) external {
        if (_findings.length != 0) judgeFinding(_findings[which % _findings.length]);
    }

    function judgeFinding(bytes32 finding) private {
        IStakes.Case memory opened = stakes.caseOf(finding);
        if (block.timestamp <= opened.deadline) return;
        if (opened.state == IStakes.State.Appealed) stakes.lapse(finding);
        if (opened.state != IStakes.State.Open) return;
        uint256 accused = 0;
        while (party(accused) != opened.provider) accused++;
        uint256 all = worthAtStake(accused);
        movesToPool(accused, opened.amount < all ? opened.amount : all);
        stakes.execute(finding);
    }

    function stakeCredit(uint8 i, uint128 amount) external {
        amount = some(amount, stakes.creditOf(party(i)));
        if (amount == 0) return;
        vm.prank(party(i));
        stakes.withdrawCredit(party(i), amount);
    }

    function worthAtStake(uint256 i) private view returns (uint256) {
        IStakes.Provider memory state = stakes.providerOf(party(i));
        return uint256(state.bonded) + state.unbonding;
    }

    function worthInStakes(uint256 i) public view returns (uint256) {
        return worthAtStake(i) + stakes.creditOf(party(i));
    }

    function endFindings() public {
        vm.warp(block.timestamp + 7 days + 1);
        for (uint256 j = 0; j < _findings.length; j++) {
            judgeFinding(_findings[j]);
        }
    }

    function leaveStakes(uint256 i) public {
        uint256 credit = stakes.creditOf(party(i));
        if (credit != 0) {
            vm.prank(party(i));
            stakes.withdrawCredit(party(i), credit);
        }
        uint128 bonded = stakes.providerOf(party(i)).bonded;
        if (bonded != 0) {
            vm.prank(party(i));
            stakes.unbond(bonded);
        }
        uint128 unbonding = stakes.providerOf(party(i)).unbonding;
        if (unbonding == 0) return;
        vm.warp(block.timestamp + 21 days);
        vm.prank(party(i));
        stakes.withdraw(party(i), unbonding);
    }
}
