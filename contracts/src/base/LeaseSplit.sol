// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @dev Who gets what of a lease's deposit. Apart from everything else, so that a prover can read it
/// (`npm run contracts:prove`).
library LeaseSplit {
    /// @dev Units of the token earned in `elapsed` seconds at `rate`, which is in 1/`scale` units a second. Rounded down, and
    /// always from the lease's first second on: no fraction is lost between two settlements. Capped at the deposit.
    function accrued(uint128 deposit, uint96 rate, uint40 elapsed, uint256 scale) internal pure returns (uint128) {
        if (elapsed == 0) return 0;
        // 96 and 40 bits: the product cannot overflow.
        uint256 earned;
        unchecked {
            earned = uint256(rate) * elapsed / scale;
        }
        return earned < deposit ? uint128(earned) : deposit;
    }

    /// @dev What the provider is still to get of what was earned, and what goes back to the tenant when the lease ends now.
    /// `settled` is what the provider got before: never more than what was earned by then, so never more than `earned`.
    function split(uint128 deposit, uint128 settled, uint128 earned)
        internal
        pure
        returns (uint128 toProvider, uint128 toTenant)
    {
        toProvider = earned - settled;
        toTenant = deposit - earned;
    }
}
