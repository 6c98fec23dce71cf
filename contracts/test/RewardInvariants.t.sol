// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Rewards} from "../src/Rewards.sol";
import {Vm} from "./kit/Vm.sol";
import {RewardMoves} from "./invariant/RewardMoves.sol";

/// @dev After any sequence of moves.
contract RewardInvariantsTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    RewardMoves private moves;

    function setUp() public {
        moves = new RewardMoves();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(moves);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[7] memory selectors = [
            moves.wait.selector,
            moves.see.selector,
            moves.settle.selector,
            moves.pay.selector,
            moves.postNext.selector,
            moves.veto.selector,
            moves.claimOne.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0].addr = address(moves);
        targets[0].selectors = new bytes4[](7);
        for (uint256 i = 0; i < 7; i++) {
            targets[0].selectors[i] = selectors[i];
        }
    }

    function invariant_onlyTheScheduleMintsAndOnlyToThoseWhoEarned() external view {
        for (uint256 i = 0; i < 2; i++) {
            Rewards token = moves.rewardsOf(i);
            vm.assertLe(token.claimed(), token.rootOf().total, "no more than the roots say");
            vm.assertLe(token.rootOf().total, moves.scheduled(), "and they no more than the schedule");
            uint256 genesis = i == 1 ? 1_000_000e18 : 0;
            vm.assertEq(token.totalSupply(), genesis + token.claimed() - moves.burnedIn(i), "nobody else mints or burns");
        }
    }

    /// @dev Once after each sequence.
    function afterInvariant() external {
        moves.everybodyClaims();
        vm.assertTrue(moves.claimsWork(), "what counts can always be claimed");
    }
}
