// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IChannels} from "../../src/interfaces/IChannels.sol";
import {World} from "./World.sol";

/// @dev Each party has a channel to the next one.
abstract contract ChannelMoves is World {
    bool public vouchersGrew = true;

    function channelOf(uint256 i) internal view returns (IChannels.ChannelConfig memory channel) {
        channel = config();
        channel.payer = party(i);
        channel.payerAuthorizer = i % 2 == 0 ? party(i) : address(0);
        channel.receiver = party(i + 1);
        channel.receiverAuthorizer = party(i + 1);
    }

    function availableIn(uint256 i) internal view returns (uint128) {
        return balanceOf(channelOf(i)) - claimedOf(channelOf(i));
    }

    function channelDeposit(uint8 i, uint128 amount) external {
        amount = some(amount, usdc.balanceOf(party(i)) / 4);
        if (amount != 0) deposit(channelOf(i), amount);
    }

    /// @dev Any voucher the payer may have signed, old ones too, and any part of it.
    function channelClaim(uint8 i, uint128 ceiling, uint128 total, bool relayed) external {
        IChannels.ChannelConfig memory channel = channelOf(i);
        uint128 before = claimedOf(channel);
        ceiling = uint128(bound(ceiling, 0, balanceOf(channel)));
        total = uint128(bound(total, 0, ceiling));
        IChannels.VoucherClaim[] memory all = rows(row(channel, keyOf(i), ceiling, total));
        if (relayed) {
            channels.claimWithSignature(all, signed(keyOf(uint256(i) + 1), channels.getClaimBatchDigest(all)));
        } else {
            vm.prank(channel.receiver);
            channels.claim(all);
        }
        if (total > before) moves(i, uint256(i) + 1, total - before);
        if (claimedOf(channel) < before) vouchersGrew = false;
    }

    function channelSettle(uint8 i) external {
        channels.settle(party(i), address(usdc));
    }

    function channelRefund(uint8 i, uint128 amount) external {
        vm.prank(party(uint256(i) + 1));
        channels.refund(channelOf(i), some(amount, type(uint128).max));
    }

    function channelLeave(uint8 i, uint128 amount) external {
        amount = some(amount, availableIn(i));
        if (amount == 0) return;
        vm.prank(party(i));
        channels.initiateWithdraw(channelOf(i), amount);
    }

    function channelLeft(uint8 i) external {
        IChannels.ChannelConfig memory channel = channelOf(i);
        (, uint40 since) = channels.pendingWithdrawals(channels.getChannelId(channel));
        if (since == 0 || block.timestamp < since + DELAY) return;
        vm.prank(channel.payer);
        channels.finalizeWithdraw(channel);
    }

    function worthInChannels(uint256 i) public view returns (uint256) {
        (uint128 claimed, uint128 settled) = channels.receivers(party(i), address(usdc));
        return availableIn(i) + claimed - settled;
    }

    function leaveChannels(uint256 i) public {
        channels.settle(party(i), address(usdc));
        uint128 available = availableIn(i);
        if (available == 0) return;
        vm.prank(party(i));
        channels.initiateWithdraw(channelOf(i), available);
        vm.warp(block.timestamp + DELAY);
        vm.prank(party(i));
        channels.finalizeWithdraw(channelOf(i));
    }
}
