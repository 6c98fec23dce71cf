// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IChannels} from "../../src/interfaces/IChannels.sol";
import {Kit} from "./Kit.sol";

abstract contract ChannelKit is Kit {
    uint40 internal constant DELAY = 1 hours;

    function config() internal view returns (IChannels.ChannelConfig memory) {
        return IChannels.ChannelConfig({
            payer: tenant,
            payerAuthorizer: tenant,
            receiver: gateway,
            receiverAuthorizer: gateway,
            token: address(usdc),
            withdrawDelay: DELAY,
            salt: 0
        });
    }

    function deposit(IChannels.ChannelConfig memory channel, uint128 amount) internal returns (bytes32) {
        vm.prank(channel.payer);
        channels.deposit(channel, amount, address(0), "");
        return channels.getChannelId(channel);
    }

    function voucher(IChannels.ChannelConfig memory channel, uint256 key, uint128 ceiling) internal view returns (bytes memory) {
        return signed(key, channels.getVoucherDigest(channels.getChannelId(channel), ceiling));
    }

    /// @dev One row: `total` of a voucher up to `ceiling`, signed by `key`.
    function row(IChannels.ChannelConfig memory channel, uint256 key, uint128 ceiling, uint128 total)
        internal
        view
        returns (IChannels.VoucherClaim memory)
    {
        return IChannels.VoucherClaim(IChannels.Voucher(channel, ceiling), voucher(channel, key, ceiling), total);
    }

    function rows(IChannels.VoucherClaim memory only) internal pure returns (IChannels.VoucherClaim[] memory all) {
        all = new IChannels.VoucherClaim[](1);
        all[0] = only;
    }

    function claim(IChannels.ChannelConfig memory channel, uint128 total) internal {
        IChannels.VoucherClaim[] memory all = rows(row(channel, TENANT_KEY, total, total));
        vm.prank(gateway);
        channels.claim(all);
    }

    function balanceOf(IChannels.ChannelConfig memory channel) internal view returns (uint128 balance) {
        (balance,) = channels.channels(channels.getChannelId(channel));
    }

    function claimedOf(IChannels.ChannelConfig memory channel) internal view returns (uint128 claimed) {
        (, claimed) = channels.channels(channels.getChannelId(channel));
    }
}
