// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title What every contract that holds money promises
/// @notice One token, told at deployment and never changed. The guardian may stop money from coming in; nobody, the
/// guardian included, can stop it from going out or move what is not theirs.
interface IEscrow {
    /// @notice A transfer moved another amount than it said: the token takes a fee, or rounds.
    error TransferNotExact(uint256 expected, uint256 balanceBefore, uint256 balanceAfter);
    /// @notice The token shrank in this contract's hands: it rebases. Nothing more is taken in.
    error TokenShrank(uint256 held, uint256 balance);
    /// @notice An amount of 0, where that would mean nothing.
    error ZeroAmount();
    /// @notice The zero address, where somebody is needed.
    error ZeroAddress();

    /// @notice The only token this contract takes and pays.
    function token() external view returns (IERC20);

    /// @notice What this contract owes by its own books, in units of the token. Its balance is never less,
    /// unless the token itself took it.
    function held() external view returns (uint256);

    /// @notice Stops deposits. Only the guardian; exits go on.
    function pauseDeposits() external;

    /// @notice Takes deposits again. Only the guardian.
    function resumeDeposits() external;
}
