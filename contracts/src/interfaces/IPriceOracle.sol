// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Where Rewards reads the token's price
interface IPriceOracle {
    /// @notice Nano-dollars for one whole token, and when that was so. An oracle that cannot say reverts.
    function price() external view returns (uint256 nanoUsd, uint256 updatedAt);
}
