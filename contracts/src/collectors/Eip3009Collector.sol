// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IDepositCollector} from "../interfaces/IDepositCollector.sol";

/// @dev The variant for smart wallets, which USDC has since its version 2.2.
interface IERC3009Bytes {
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}

/// @title Brings deposits by EIP-3009: the payer signs, somebody else pays the gas
/// @notice The payer's `ReceiveWithAuthorization` names this contract as `to`, and as nonce
/// `keccak256(abi.encode(channelId, salt))`: the authorization is good for that one channel only, whoever relays it.
/// @dev `collectorData` is `abi.encode(uint256 validAfter, uint256 validBefore, uint256 salt, bytes signature)`.
contract Eip3009Collector is IDepositCollector {
    using SafeERC20 for IERC20;

    address public immutable channels;

    constructor(address channels_) {
        channels = channels_;
    }

    /// @inheritdoc IDepositCollector
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata collectorData) external {
        if (msg.sender != channels) revert NotChannels(msg.sender, channels);
        (uint256 validAfter, uint256 validBefore, uint256 salt, bytes memory signature) =
            abi.decode(collectorData, (uint256, uint256, uint256, bytes));
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        if (payer.code.length == 0) {
            (uint8 v, bytes32 r, bytes32 s) = ECDSA.parse(signature);
            IERC3009(token).receiveWithAuthorization(payer, address(this), amount, validAfter, validBefore, nonce, v, r, s);
        } else {
            IERC3009Bytes(token).receiveWithAuthorization(payer, address(this), amount, validAfter, validBefore, nonce, signature);
        }
        IERC20(token).safeTransfer(msg.sender, amount);
    }
}
