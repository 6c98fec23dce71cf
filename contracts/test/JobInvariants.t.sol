// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Vm} from "./kit/Vm.sol";
import {JobMoves} from "./invariant/JobMoves.sol";

/// @dev After any sequence of moves.
contract JobInvariantsTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    JobMoves private moves;
    uint256 private all;

    function setUp() public {
        moves = new JobMoves();
        all = moves.everybodysMoney();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(moves);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[12] memory selectors = [
            moves.create.selector,
            moves.begin.selector,
            moves.come.selector,
            moves.agree.selector,
            moves.fund.selector,
            moves.deliver.selector,
            moves.giveVerdict.selector,
            moves.fight.selector,
            moves.cast.selector,
            moves.cancel.selector,
            moves.push.selector,
            moves.wait.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0].addr = address(moves);
        targets[0].selectors = new bytes4[](12);
        for (uint256 i = 0; i < 12; i++) {
            targets[0].selectors[i] = selectors[i];
        }
    }

    function invariant_whatIsHeldIsWhatIsInTheJobs() external view {
        vm.assertEq(moves.books(), moves.held(), "the books are what is held");
        vm.assertEq(moves.everybodysMoney(), all, "money is neither made nor lost");
        vm.assertTrue(moves.fair(), "each got what verdict, panel or split say; silence pays neither side less than the split");
    }

    /// @dev Once after each sequence.
    function afterInvariant() external {
        vm.assertEq(moves.everybodyIsSilent(), 0, "time alone ends every job");
        vm.assertTrue(moves.fair() && moves.endings() != 0, "each as was agreed");
        vm.assertEq(moves.held(), 0, "and pays everything out");
        vm.assertEq(moves.everybodysMoney(), all, "to those who put it in, or earned it");
    }
}
