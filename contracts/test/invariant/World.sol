// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ChannelKit} from "../kit/ChannelKit.sol";
import {LeaseKit} from "../kit/LeaseKit.sol";
import {PayoutKit} from "../kit/PayoutKit.sol";

/// @dev Four parties that each deposit, sell, gateway and stake, and a model of who owes whom what, worked out without the
/// contracts. The moves stand in one file for each contract; every move is one that its party may make.
abstract contract World is ChannelKit, LeaseKit, PayoutKit {
    uint256 public constant PARTIES = 4;
    uint256 public constant MONEY = 1_000_000 * 1e6;

    /// @dev What the model says each party won (or lost) of the others; the pool is the last.
    int256[5] public won;

    /// @dev Kept, because working a public key out takes longer than any move.
    address[4] private _parties;

    constructor() {
        for (uint256 i = 0; i < PARTIES; i++) {
            _parties[i] = vm.addr(keyOf(i));
        }
        setUp();
        for (uint256 i = 0; i < PARTIES; i++) {
            rich(party(i));
        }
    }

    function keyOf(uint256 i) internal pure returns (uint256) {
        return 0x5001 + (i % PARTIES);
    }

    function party(uint256 i) public view returns (address) {
        return _parties[i % PARTIES];
    }

    function moves(uint256 from, uint256 to, uint256 amount) internal {
        won[from % PARTIES] -= int256(amount);
        won[to % PARTIES] += int256(amount);
    }

    function movesToPool(uint256 from, uint256 amount) internal {
        won[from % PARTIES] -= int256(amount);
        won[PARTIES] += int256(amount);
    }

    /// @dev At most `most`, and at least 1; 0 when there is nothing.
    function some(uint256 seed, uint256 most) internal pure returns (uint128) {
        return most == 0 ? 0 : uint128(bound(seed, 1, most));
    }

    function wait(uint32 time) external {
        vm.warp(block.timestamp + bound(time, 1, 12 hours));
    }

    function waitLong(uint32 time) external {
        vm.warp(block.timestamp + bound(time, 1, 15 days));
    }
}
