// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title How tokens get into a channel without an approval
interface IDepositCollector {
    /// @notice Somebody else than the channels contract asked for tokens to be collected.
    error NotChannels(address caller, address channels);

    /// @notice Moves `amount` of `token` from `payer` to the channels contract, which is the only caller.
    /// @dev Must check that `payer` agreed to this very channel. The caller measures what arrives.
    /// @param collectorData What this collector needs; its own contract says in which form.
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata collectorData) external;
}
