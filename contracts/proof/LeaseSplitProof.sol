// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {LeaseSplit} from "../src/base/LeaseSplit.sol";

/// @dev What `npm run contracts:prove` shows for all numbers, where tests only try some.
contract LeaseSplitProof {
    /// @dev A lease that is closed after it was settled: nothing is made or lost.
    function closesWholly(uint128 deposit, uint128 settled, uint128 earned) external pure {
        require(settled <= earned && earned <= deposit);
        (uint128 toProvider, uint128 toTenant) = LeaseSplit.split(deposit, settled, earned);
        assert(uint256(settled) + toProvider + toTenant == deposit);
        assert(settled + toProvider == earned);
    }

    /// @dev No more is earned than the deposit, and nothing at once.
    function earnsAtMostTheDeposit(uint128 deposit, uint96 rate, uint40 elapsed) external pure {
        uint128 earned = LeaseSplit.accrued(deposit, rate, elapsed, 1e12);
        assert(earned <= deposit);
        assert(elapsed != 0 || earned == 0);
    }
}
