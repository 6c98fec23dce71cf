// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPayouts} from "../../src/interfaces/IPayouts.sol";
import {World} from "./World.sol";

/// @dev Each party is a gateway that owes every party something, itself included: what it owes to its friends.
abstract contract PayoutMoves is World {
    /// @dev Cumulative, by IOU; what the pending root says of it; what the root that counts says.
    uint128[4][4] private _owed;
    uint128[4][4] private _pending;
    uint128[4][4] private _counted;

    struct Open {
        uint256 gateway;
        uint256 provider;
        uint256 challenger;
        uint32 epoch;
        uint128 owed;
    }

    Open[] private _open;

    function payoutFund(uint8 g, uint128 amount) external {
        amount = some(amount, usdc.balanceOf(party(g)) / 4);
        if (amount == 0) return;
        vm.prank(party(g));
        payouts.fund(party(g), amount);
    }

    function payoutBond(uint8 g, uint128 amount) external {
        if (usdc.balanceOf(party(g)) < 3000 * USD) return;
        vm.prank(party(g));
        payouts.bond(party(g), uint128(bound(amount, 1000 * USD, 3000 * USD)));
    }

    function payoutOwe(uint8 g, uint8 p, uint64 amount) external {
        _owed[g % 4][p % 4] += uint128(bound(amount, 1, 20_000 * USD));
    }

    function leavesOf(uint128[4] storage owed) private view returns (bytes32[][] memory) {
        bytes32[] memory leaves = new bytes32[](4);
        for (uint256 i = 0; i < 4; i++) {
            leaves[i] = leafOf(party(i), owed[i]);
        }
        return treeOf(leaves);
    }

    /// @dev What it owes now, or (a hostile gateway) all but what it owes the first.
    function payoutRoot(uint8 g, bool omits) external {
        g %= 4;
        IPayouts.Gateway memory state = payouts.gatewayOf(party(g));
        bool counts = state.openChallenges == 0 && block.timestamp >= state.pendingSince + 1 hours;
        if ((state.pendingRoot != 0 && !counts) || state.bond < 1000 * USD) return;
        uint128[4] memory next = _owed[g];
        if (omits) next[0] = 0;
        uint128 total = next[0] + next[1] + next[2] + next[3];
        uint128 last = state.pendingRoot != 0 ? state.pendingTotal : state.total;
        if (total < last || total > state.deposited) return;
        if (state.pendingRoot != 0) _counted[g] = _pending[g];
        _pending[g] = next;
        vm.prank(party(g));
        payouts.postRoot(rootOf(leavesOf(_pending[g])), total, state.epoch + 1);
    }

    function payoutClaim(uint8 g, uint8 p) external {
        (g, p) = (g % 4, p % 4);
        bytes32 root = payouts.rootOf(party(g));
        if (root == 0) return;
        bool pendingCounts = root == payouts.gatewayOf(party(g)).pendingRoot;
        uint128[4] storage leaves = pendingCounts ? _pending[g] : _counted[g];
        bytes32[] memory proof = proofOf(leavesOf(leaves), p);
        if (!payable_(g, p, leaves[p])) return;
        payouts.claim(party(g), party(p), leaves[p], proof);
    }

    function payoutIou(uint8 g, uint8 p, uint128 part) external {
        (g, p) = (g % 4, p % 4);
        uint128 cumulative = uint128(bound(part, 0, _owed[g][p]));
        bytes memory signature = signed(keyOf(g), payouts.iouDigest(party(g), party(p), 0, cumulative));
        if (!payable_(g, p, cumulative)) return;
        payouts.claimByIou(party(g), party(p), 0, cumulative, signature);
    }

    /// @dev Books what a claim must pay: the difference, as far as there is money.
    function payable_(uint256 g, uint256 p, uint128 cumulative) private returns (bool) {
        uint128 before = payouts.paidTo(party(g), party(p));
        uint256 there = worthAsGateway(g);
        if (cumulative <= before || there == 0) return false;
        uint256 due = cumulative - before;
        moves(g, p, due < there ? due : there);
        return true;
    }

    function payoutChallenge(uint8 g, uint8 p, uint8 challenger) external {
        (g, p) = (g % 4, p % 4);
        // A gateway with a root that pends, if there is one: most of the time most have none.
        for (uint8 i = 0; i < 4 && payouts.gatewayOf(party(g)).pendingRoot == 0; i++) {
            g = (g + 1) % 4;
        }
        IPayouts.Gateway memory state = payouts.gatewayOf(party(g));
        uint128 owed = _owed[g][p];
        bool late = block.timestamp >= state.pendingSince + 1 hours;
        bool known = payouts.challengeOf(party(g), party(p), state.epoch, owed).answerBy != 0;
        if (state.pendingRoot == 0 || late || known || usdc.balanceOf(party(challenger)) < 10 * USD) return;
        bytes memory signature = signed(keyOf(g), payouts.iouDigest(party(g), party(p), 0, owed));
        vm.prank(party(challenger));
        payouts.challenge(party(g), party(p), 0, owed, signature);
        _open.push(Open(g, p, challenger % PARTIES, state.epoch, owed));
    }

    /// @dev Answers where the root is right, voids it where nobody answered in time, and returns what another one voided.
    function payoutJudge(uint8 which) external {
        if (_open.length != 0) judge(which % _open.length);
    }

    function judge(uint256 which) private {
        Open memory opened = _open[which];
        (address gateway_, address provider_) = (party(opened.gateway), party(opened.provider));
        IPayouts.Gateway memory state = payouts.gatewayOf(gateway_);
        uint128 leaf = _pending[opened.gateway][opened.provider];
        uint40 answerBy = payouts.challengeOf(gateway_, provider_, opened.epoch, opened.owed).answerBy;
        if (state.pendingRoot == 0 || state.epoch != opened.epoch) {
            payouts.returnChallenge(gateway_, provider_, opened.epoch, opened.owed);
        } else if (block.timestamp > answerBy) {
            moves(opened.gateway, opened.challenger, state.bond < 400 * USD ? state.bond : 400 * USD);
            payouts.voidRoot(gateway_, provider_, opened.owed);
        } else if (leaf >= opened.owed) {
            moves(opened.challenger, opened.gateway, 10 * USD);
            bytes32[] memory proof = proofOf(leavesOf(_pending[opened.gateway]), opened.provider);
            payouts.answer(gateway_, provider_, opened.owed, leaf, proof);
        } else {
            return;
        }
        _open[which] = _open[_open.length - 1];
        _open.pop();
    }

    function payoutAsk(uint8 g, uint128 amount) external {
        vm.prank(party(g));
        payouts.requestWithdrawal(some(amount, 100_000 * USD));
    }

    function payoutLeave(uint8 g) external {
        IPayouts.Withdrawal memory asked = payouts.withdrawalOf(party(g));
        bool late = block.timestamp > uint256(asked.availableAt) + 3 days;
        if (asked.amount == 0 || block.timestamp < asked.availableAt || late) return;
        vm.prank(party(g));
        payouts.finishWithdrawal(party(g));
    }

    function payoutCredit(uint8 i, uint128 amount) external {
        amount = some(amount, payouts.creditOf(party(i)));
        if (amount == 0) return;
        vm.prank(party(i));
        payouts.withdrawCredit(party(i), amount);
    }

    function worthAsGateway(uint256 g) private view returns (uint256) {
        IPayouts.Gateway memory state = payouts.gatewayOf(party(g));
        return uint256(state.deposited) - state.paid + state.bond;
    }

    function worthInPayouts(uint256 i) public view returns (uint256 worth) {
        worth = worthAsGateway(i) + payouts.creditOf(party(i));
        for (uint256 j = 0; j < _open.length; j++) {
            if (_open[j].challenger == i) worth += 10 * USD;
        }
    }

    /// @dev After this no challenge is open: an hour for each answer is over.
    function endChallenges() public {
        vm.warp(block.timestamp + 12 hours + 1);
        while (_open.length != 0) judge(0);
    }

    /// @dev What a root lays claim to stays for those it names; all else leaves.
    function leavePayouts(uint256 i) public returns (uint256 stays) {
        uint256 credit = payouts.creditOf(party(i));
        if (credit != 0) {
            vm.prank(party(i));
            payouts.withdrawCredit(party(i), credit);
        }
        vm.warp(block.timestamp + 1 hours);
        vm.prank(party(i));
        payouts.requestWithdrawal(type(uint128).max);
        vm.warp(block.timestamp + 2 days);
        uint128 free = payouts.withdrawable(party(i));
        stays = worthAsGateway(i) - free;
        vm.prank(party(i));
        payouts.finishWithdrawal(party(i));
        IPayouts.Gateway memory state = payouts.gatewayOf(party(i));
        uint128 total = state.pendingTotal > state.total ? state.pendingTotal : state.total;
        uint256 reserved = total > state.paid ? total - state.paid : 0;
        vm.assertLe(stays, reserved, "a gateway leaves with all that no root lays claim to");
    }
}
