// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {MockUSDC} from "../src/test-money/MockUSDC.sol";
import {Vm} from "./kit/Vm.sol";
import {ChannelMoves} from "./invariant/ChannelMoves.sol";
import {LeaseMoves} from "./invariant/LeaseMoves.sol";
import {PayoutMoves} from "./invariant/PayoutMoves.sol";
import {StakeMoves} from "./invariant/StakeMoves.sol";

contract Moves is ChannelMoves, LeaseMoves, PayoutMoves, StakeMoves {
    function money() external view returns (MockUSDC) {
        return usdc;
    }

    function escrows() public view returns (IEscrow[4] memory) {
        return [IEscrow(channels), leases, payouts, stakes];
    }

    function bookOf(uint256 escrow, uint256 i) public view returns (uint256) {
        if (escrow == 0) return worthInChannels(i);
        if (escrow == 1) return worthInLeases(i);
        return escrow == 2 ? worthInPayouts(i) : worthInStakes(i);
    }

    function poolsCredit() external view returns (uint256) {
        return stakes.creditOf(pool);
    }

    /// @dev Everybody leaves, whatever has happened, while deposits are paused. What roots reserve stays for those they name.
    function everybodyLeaves() external returns (uint256 stays) {
        for (uint256 i = 0; i < 4; i++) {
            vm.prank(guardian);
            escrows()[i].pauseDeposits();
        }
        endLeases();
        endChallenges();
        endFindings();
        for (uint256 i = 0; i < PARTIES; i++) {
            leaveChannels(i);
            leaveLeases(i);
            stays += leavePayouts(i);
            leaveStakes(i);
        }
    }
}

/// @dev After any sequence of moves.
contract InvariantsTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Moves private moves;

    function setUp() public {
        moves = new Moves();
    }

    function targetContracts() external view returns (address[] memory all) {
        all = new address[](1);
        all[0] = address(moves);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory all) {
        bytes4[34] memory selectors = [
            moves.wait.selector,
            moves.waitLong.selector,
            moves.channelDeposit.selector,
            moves.channelClaim.selector,
            moves.channelSettle.selector,
            moves.channelRefund.selector,
            moves.channelLeave.selector,
            moves.channelLeft.selector,
            moves.leaseDeposit.selector,
            moves.leaseWithdraw.selector,
            moves.leaseOpen.selector,
            moves.leaseSettle.selector,
            moves.leaseTopUp.selector,
            moves.leaseNotice.selector,
            moves.leaseClose.selector,
            moves.payoutFund.selector,
            moves.payoutBond.selector,
            moves.payoutOwe.selector,
            moves.payoutRoot.selector,
            moves.payoutClaim.selector,
            moves.payoutIou.selector,
            moves.payoutChallenge.selector,
            moves.payoutJudge.selector,
            moves.payoutAsk.selector,
            moves.payoutLeave.selector,
            moves.payoutCredit.selector,
            moves.stakeAdd.selector,
            moves.stakeUnbond.selector,
            moves.stakeWithdraw.selector,
            moves.stakeSlash.selector,
            moves.stakeAccuse.selector,
            moves.stakeAppeal.selector,
            moves.stakeJudge.selector,
            moves.stakeCredit.selector
        ];
        all = new FuzzSelector[](1);
        all[0].addr = address(moves);
        all[0].selectors = new bytes4[](34);
        for (uint256 i = 0; i < 34; i++) {
            all[0].selectors[i] = selectors[i];
        }
    }

    function invariant_moneyIsNeitherMadeNorLostNorTakenNorStuck() external view {
        MockUSDC usdc = moves.money();
        uint256 all = moves.poolsCredit();
        for (uint256 escrow = 0; escrow < 4; escrow++) {
            IEscrow held = moves.escrows()[escrow];
            uint256 books = escrow == 3 ? moves.poolsCredit() : 0;
            for (uint256 i = 0; i < 4; i++) {
                books += moves.bookOf(escrow, i);
            }
            vm.assertEq(books, held.held(), "the books are what is held");
            vm.assertEq(books, usdc.balanceOf(address(held)), "what is held is there");
        }
        for (uint256 i = 0; i < 4; i++) {
            uint256 worth = usdc.balanceOf(moves.party(i));
            for (uint256 escrow = 0; escrow < 4; escrow++) {
                worth += moves.bookOf(escrow, i);
            }
            int256 expected = int256(moves.MONEY()) + moves.won(i);
            vm.assertTrue(int256(worth) == expected, "each has what it had, and what was agreed");
            all += worth;
        }
        vm.assertEq(all, 4 * moves.MONEY(), "in all");
        vm.assertTrue(moves.vouchersGrew(), "vouchers only grow");
    }

    /// @dev Once after each sequence.
    function afterInvariant() external {
        MockUSDC usdc = moves.money();
        uint256 stays = moves.everybodyLeaves();
        for (uint256 escrow = 0; escrow < 4; escrow++) {
            uint256 left = usdc.balanceOf(address(moves.escrows()[escrow]));
            uint256 expected = escrow == 2 ? stays : escrow == 3 ? moves.poolsCredit() : 0;
            vm.assertEq(left, expected, "exits always work");
        }
    }
}
