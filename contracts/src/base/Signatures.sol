// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @dev Signatures of keys and of wallets that are contracts (EIP-1271).
library Signatures {
    /// @dev By the signer's key first, whatever code is at its address: what a key signed stays signed, also when its account
    /// takes on code later (EIP-7702); and no look at the account's code is paid for.
    function isValid(address signer, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        return
            isByKey(signer, digest, signature) || SignatureChecker.isValidERC1271SignatureNowCalldata(signer, digest, signature);
    }

    /// @dev By the signer's key only.
    function isByKey(address signer, bytes32 digest, bytes calldata signature) internal pure returns (bool) {
        (address recovered, ECDSA.RecoverError failed,) = ECDSA.tryRecoverCalldata(digest, signature);
        return failed == ECDSA.RecoverError.NoError && recovered == signer;
    }
}
