// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IChannels} from "../src/interfaces/IChannels.sol";
import {IDepositCollector} from "../src/interfaces/IDepositCollector.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Wallet} from "./kit/Kit.sol";
import {ChannelKit} from "./kit/ChannelKit.sol";

contract ChannelClaimsTest is ChannelKit {
    // Claims

    function test_claimTakesUpToTheCeilingAndMovesNoTokens() public {
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = deposit(channel, 10 * USD);
        IChannels.VoucherClaim[] memory all = rows(row(channel, TENANT_KEY, 6 * USD, 4 * USD));
        vm.expectEmit();
        emit IChannels.Claimed(id, 4 * USD, 4 * USD);
        vm.prank(gateway);
        channels.claim(all);
        eq(claimedOf(channel), 4 * USD, "claimed");
        eq(usdc.balanceOf(address(channels)), 10 * USD, "tokens");
        (uint128 claimed, uint128 settled) = channels.receivers(gateway, address(usdc));
        eq(claimed, 4 * USD, "receiver's");
        eq(settled, 0, "not settled");
    }

    function test_aClaimThatRaisesNothingIsSkipped() public {
        IChannels.ChannelConfig memory channel = config();
        deposit(channel, 10 * USD);
        claim(channel, 6 * USD);
        claim(channel, 6 * USD);
        claim(channel, 5 * USD);
        eq(claimedOf(channel), 6 * USD, "vouchers only grow");
        (uint128 claimed,) = channels.receivers(gateway, address(usdc));
        eq(claimed, 6 * USD, "nothing twice");
    }

    function test_refusesClaimsThatWereNotSigned() public {
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = deposit(channel, 10 * USD);
        IChannels.VoucherClaim[] memory all = rows(row(channel, TENANT_KEY, 4 * USD, 5 * USD));
        vm.startPrank(gateway);
        refuses(abi.encodeWithSelector(IChannels.ClaimAboveVoucher.selector, id, 5 * USD, 4 * USD));
        channels.claim(all);

        all = rows(row(channel, TENANT_KEY, 11 * USD, 11 * USD));
        refuses(abi.encodeWithSelector(IChannels.ClaimAboveBalance.selector, id, 11 * USD, 10 * USD));
        channels.claim(all);

        all = rows(row(channel, STRANGER_KEY, 4 * USD, 4 * USD));
        refuses(abi.encodeWithSelector(IChannels.VoucherSignatureInvalid.selector, id, 4 * USD));
        channels.claim(all);

        // A voucher of another channel of the same parties.
        IChannels.ChannelConfig memory other = config();
        other.salt = bytes32(uint256(1));
        all = rows(row(channel, TENANT_KEY, 4 * USD, 4 * USD));
        all[0].signature = voucher(other, TENANT_KEY, 4 * USD);
        refuses(abi.encodeWithSelector(IChannels.VoucherSignatureInvalid.selector, id, 4 * USD));
        channels.claim(all);

        refuses(abi.encodeWithSelector(IChannels.NoClaims.selector));
        channels.claim(new IChannels.VoucherClaim[](0));
        vm.stopPrank();

        all = rows(row(channel, TENANT_KEY, 4 * USD, 4 * USD));
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IChannels.NotReceiver.selector, id, stranger));
        channels.claim(all);
    }

    function test_aSmartWalletSignsVouchersWithoutAnAuthorizer() public {
        IChannels.ChannelConfig memory channel = config();
        channel.payer = address(new Wallet(tenant));
        channel.payerAuthorizer = address(0);
        rich(channel.payer);
        bytes32 id = deposit(channel, 10 * USD);
        claim(channel, 4 * USD);
        eq(claimedOf(channel), 4 * USD, "by EIP-1271");

        IChannels.VoucherClaim[] memory all = rows(row(channel, STRANGER_KEY, 5 * USD, 5 * USD));
        vm.prank(gateway);
        refuses(abi.encodeWithSelector(IChannels.VoucherSignatureInvalid.selector, id, 5 * USD));
        channels.claim(all);
    }

    function test_aContractIsNoPayerAuthorizer() public {
        IChannels.ChannelConfig memory channel = config();
        channel.payerAuthorizer = address(new Wallet(tenant));
        bytes32 id = deposit(channel, 10 * USD);
        IChannels.VoucherClaim[] memory all = rows(row(channel, TENANT_KEY, 4 * USD, 4 * USD));
        vm.prank(gateway);
        refuses(abi.encodeWithSelector(IChannels.VoucherSignatureInvalid.selector, id, 4 * USD));
        channels.claim(all);
    }

    /// @dev Three channels of two receivers; the second receiver's row stands between the first's.
    function threeRows() private returns (IChannels.VoucherClaim[] memory all) {
        all = new IChannels.VoucherClaim[](3);
        for (uint256 i = 0; i < 3; i++) {
            IChannels.ChannelConfig memory channel = config();
            channel.salt = bytes32(i);
            if (i == 1) channel.receiver = provider;
            deposit(channel, 10 * USD);
            all[i] = row(channel, TENANT_KEY, 6 * USD, uint128(i + 1) * USD);
        }
    }

    function test_anybodyRelaysABatchThatTheAuthorizerSigned() public {
        IChannels.VoucherClaim[] memory all = threeRows();
        bytes memory signature = signed(GATEWAY_KEY, channels.getClaimBatchDigest(all));
        vm.prank(stranger);
        channels.claimWithSignature(all, signature);
        (uint128 gateways,) = channels.receivers(gateway, address(usdc));
        (uint128 providers,) = channels.receivers(provider, address(usdc));
        eq(gateways, 4 * USD, "first and third row");
        eq(providers, 2 * USD, "second row");
    }

    function test_claimBatchDigestIsNestedTypedData() public {
        IChannels.VoucherClaim[] memory all = threeRows();
        bytes32 entry = keccak256("ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");
        bytes memory entries;
        for (uint256 i = 0; i < 3; i++) {
            bytes32 id = channels.getChannelId(all[i].voucher.channel);
            entries = abi.encodePacked(
                entries, keccak256(abi.encode(entry, id, all[i].voucher.maxClaimableAmount, all[i].totalClaimed))
            );
        }
        bytes32 batch = keccak256(
            "ClaimBatch(ClaimEntry[] claims)ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)"
        );
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("x402 Batch Settlement"),
                keccak256("1"),
                block.chainid,
                address(channels)
            )
        );
        bytes32 expected = keccak256(abi.encodePacked(hex"1901", domain, keccak256(abi.encode(batch, keccak256(entries)))));
        eq(channels.getClaimBatchDigest(all), expected, "digest");
    }

    function test_refusesABatchThatTheAuthorizerDidNotSign() public {
        IChannels.VoucherClaim[] memory all = threeRows();
        bytes32 digest = channels.getClaimBatchDigest(all);
        bytes memory signature = signed(STRANGER_KEY, digest);
        refuses(abi.encodeWithSelector(IChannels.AuthorizerSignatureInvalid.selector, gateway, digest));
        channels.claimWithSignature(all, signature);

        // Signed for less than is claimed.
        signature = signed(GATEWAY_KEY, digest);
        all[2].totalClaimed += 1;
        bytes32 changed = channels.getClaimBatchDigest(all);
        refuses(abi.encodeWithSelector(IChannels.AuthorizerSignatureInvalid.selector, gateway, changed));
        channels.claimWithSignature(all, signature);

        all[1].voucher.channel.receiverAuthorizer = stranger;
        refuses(abi.encodeWithSelector(IChannels.AuthorizersDiffer.selector, gateway, stranger));
        channels.claimWithSignature(all, signature);

        refuses(abi.encodeWithSelector(IChannels.NoClaims.selector));
        channels.claimWithSignature(new IChannels.VoucherClaim[](0), signature);
    }

    // Settling

    function test_settlePaysWhatWasClaimedOnceAndAnybodyMayCall() public {
        IChannels.ChannelConfig memory channel = config();
        deposit(channel, 10 * USD);
        claim(channel, 4 * USD);
        uint256 before = usdc.balanceOf(gateway);
        vm.expectEmit();
        emit IChannels.Settled(gateway, address(usdc), stranger, 4 * USD);
        vm.prank(stranger);
        channels.settle(gateway, address(usdc));
        channels.settle(gateway, address(usdc));
        eq(usdc.balanceOf(gateway) - before, 4 * USD, "paid once");
        claim(channel, 5 * USD);
        channels.settle(gateway, address(usdc));
        eq(usdc.balanceOf(gateway) - before, 5 * USD, "then the difference");
    }
}
