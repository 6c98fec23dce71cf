// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IEscrow} from "../interfaces/IEscrow.sol";

/// @dev Holds one token for many. The owner is the guardian, and all it can do is to pause deposits.
abstract contract Escrow is IEscrow, Ownable2Step, Pausable, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @inheritdoc IEscrow
    IERC20 public immutable token;
    /// @inheritdoc IEscrow
    uint256 public held;

    constructor(IERC20 token_, address guardian) Ownable(guardian) {
        if (address(token_) == address(0)) revert ZeroAddress();
        token = token_;
    }

    /// @inheritdoc IEscrow
    function pauseDeposits() external onlyOwner {
        _pause();
    }

    /// @inheritdoc IEscrow
    function resumeDeposits() external onlyOwner {
        _unpause();
    }

    /// @dev Takes exactly `amount` from whoever calls: nobody's approval is ever used by another.
    function _pullFromSender(uint256 amount) internal {
        uint256 before = _expect(amount);
        token.safeTransferFrom(msg.sender, address(this), amount);
        _requireArrived(before, amount);
    }

    /// @dev Writes down that `amount` will come in; the caller then lets it come, and calls `_requireArrived`.
    function _expect(uint256 amount) internal returns (uint256 before) {
        before = token.balanceOf(address(this));
        uint256 owed = held;
        if (before < owed) revert TokenShrank(owed, before);
        held = owed + amount;
    }

    function _requireArrived(uint256 before, uint256 amount) internal view {
        uint256 afterwards = token.balanceOf(address(this));
        if (afterwards != before + amount) revert TransferNotExact(amount, before, afterwards);
    }

    /// @dev The last thing a function does. What arrives is not measured: a token that misbehaves must not lock exits.
    function _pay(address to, uint256 amount) internal {
        held -= amount;
        token.safeTransfer(to, amount);
    }
}
