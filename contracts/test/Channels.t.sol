// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IChannels} from "../src/interfaces/IChannels.sol";
import {IDepositCollector} from "../src/interfaces/IDepositCollector.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Wallet} from "./kit/Kit.sol";
import {ChannelKit} from "./kit/ChannelKit.sol";

contract ChannelsTest is ChannelKit {
    // Identity: what x402's clients compute by themselves.

    function test_channelIdIsTheTypedDataHashOfItsConfig() public view {
        IChannels.ChannelConfig memory channel = config();
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("x402 Batch Settlement"),
                keccak256("1"),
                block.chainid,
                address(channels)
            )
        );
        bytes32 typehash = keccak256(
            "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
        );
        bytes32 expected = keccak256(abi.encodePacked(hex"1901", domain, keccak256(abi.encode(typehash, channel))));
        eq(channels.getChannelId(channel), expected, "channel id");
        eq(channels.CHANNEL_CONFIG_TYPEHASH(), typehash, "type hash");
    }

    function test_standsAtAnyAddressItsCodeIsPut() public {
        address elsewhere = 0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003;
        vm.etch(elsewhere, address(channels).code);
        vm.assertTrue(IChannels(elsewhere).getChannelId(config()) != channels.getChannelId(config()), "its domain is its own");
    }

    // Deposits

    function test_depositCreatesAChannelAndTopsItUp() public {
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = channels.getChannelId(channel);
        vm.expectEmit();
        emit IChannels.ChannelCreated(id, channel);
        deposit(channel, 5 * USD);
        vm.expectEmit();
        emit IChannels.Deposited(id, tenant, 2 * USD, 7 * USD);
        deposit(channel, 2 * USD);
        eq(balanceOf(channel), 7 * USD, "balance");
        eq(usdc.balanceOf(address(channels)), 7 * USD, "tokens");
        eq(channels.held(), 7 * USD, "held");
    }

    function test_anApprovalIsSpentByNobodyElse() public {
        // The stranger opens a channel in the tenant's name, to itself: it pays for that.
        IChannels.ChannelConfig memory channel = config();
        (channel.receiver, channel.receiverAuthorizer, channel.payerAuthorizer) = (stranger, stranger, stranger);
        uint256 before = usdc.balanceOf(tenant);
        vm.prank(stranger);
        channels.deposit(channel, 5 * USD, address(0), "");
        eq(usdc.balanceOf(tenant), before, "the tenant's tokens stay");
    }

    function test_refusesBadConfigs() public {
        IChannels.ChannelConfig memory channel = config();
        vm.startPrank(tenant);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        channels.deposit(channel, 0, address(0), "");
        channel.token = address(0x1234);
        refuses(abi.encodeWithSelector(IChannels.TokenNotTaken.selector, address(0x1234), address(usdc)));
        channels.deposit(channel, 1, address(0), "");

        uint40[2] memory outside = [uint40(15 minutes - 1), uint40(30 days + 1)];
        uint40[2] memory edges = [uint40(15 minutes), uint40(30 days)];
        for (uint256 i = 0; i < 2; i++) {
            channel = config();
            channel.withdrawDelay = outside[i];
            refuses(
                abi.encodeWithSelector(
                    IChannels.WithdrawDelayOutOfRange.selector, outside[i], uint40(15 minutes), uint40(30 days)
                )
            );
            channels.deposit(channel, 1, address(0), "");
            channel.withdrawDelay = edges[i];
            channels.deposit(channel, 1, address(0), "");
        }
        for (uint256 i = 0; i < 3; i++) {
            channel = config();
            if (i == 0) channel.payer = address(0);
            if (i == 1) channel.receiver = address(0);
            if (i == 2) channel.receiverAuthorizer = address(0);
            refuses(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
            channels.deposit(channel, 1, address(0), "");
        }
    }

    function collectorData(IChannels.ChannelConfig memory channel, uint256 key, uint128 amount)
        private
        view
        returns (bytes memory)
    {
        bytes32 nonce = keccak256(abi.encode(channels.getChannelId(channel), uint256(7)));
        bytes32 typehash = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Test USD Coin"),
                keccak256("2"),
                block.chainid,
                address(usdc)
            )
        );
        bytes32 hash = keccak256(abi.encode(typehash, channel.payer, address(collector), uint256(amount), 0, START + 60, nonce));
        bytes memory signature = signed(key, keccak256(abi.encodePacked(hex"1901", domain, hash)));
        return abi.encode(uint256(0), START + 60, uint256(7), signature);
    }

    function test_depositByEip3009NeedsNoApprovalAndAnybodyRelaysIt() public {
        IChannels.ChannelConfig memory channel = config();
        vm.prank(tenant);
        usdc.approve(address(channels), 0);
        bytes memory data = collectorData(channel, TENANT_KEY, 5 * USD);
        vm.prank(stranger);
        channels.deposit(channel, 5 * USD, address(collector), data);
        eq(balanceOf(channel), 5 * USD, "balance");
        eq(usdc.balanceOf(address(collector)), 0, "nothing stays with the collector");
    }

    function test_anEip3009AuthorizationIsGoodForItsChannelOnly() public {
        bytes memory data = collectorData(config(), TENANT_KEY, 5 * USD);
        IChannels.ChannelConfig memory other = config();
        (other.receiver, other.receiverAuthorizer, other.payerAuthorizer) = (stranger, stranger, stranger);
        vm.prank(stranger);
        vm.expectPartialRevert(ERC3009.ERC3009InvalidSignature.selector);
        channels.deposit(other, 5 * USD, address(collector), data);
    }

    function test_aSmartWalletDepositsByEip3009() public {
        IChannels.ChannelConfig memory channel = config();
        channel.payer = address(new Wallet(tenant));
        rich(channel.payer);
        channels.deposit(channel, 5 * USD, address(collector), collectorData(channel, TENANT_KEY, 5 * USD));
        eq(balanceOf(channel), 5 * USD, "balance");
    }

    function test_theCollectorCollectsForTheChannelsOnly() public {
        refuses(abi.encodeWithSelector(IDepositCollector.NotChannels.selector, address(this), address(channels)));
        collector.collect(tenant, address(usdc), 1, 0, "");
    }

    function test_aCollectorThatBringsLessIsRefused() public {
        address empty = address(new Empty());
        refuses(abi.encodeWithSelector(IEscrow.TransferNotExact.selector, uint256(5), uint256(0), uint256(0)));
        channels.deposit(config(), 5, empty, "");
    }

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

    // Refunds

    function test_refundReturnsWhatIsNotClaimed() public {
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = deposit(channel, 10 * USD);
        claim(channel, 4 * USD);
        uint256 before = usdc.balanceOf(tenant);
        vm.prank(gateway);
        channels.refund(channel, 1 * USD);
        vm.prank(gateway);
        channels.refund(channel, 100 * USD);
        eq(usdc.balanceOf(tenant) - before, 6 * USD, "all that is not claimed");
        eq(channels.refundNonce(id), 2, "nonce");
        vm.prank(gateway);
        channels.refund(channel, 1);
        eq(channels.refundNonce(id), 3, "nonce, even with nothing to return");
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IChannels.NotReceiver.selector, id, stranger));
        channels.refund(channel, 1);
        vm.prank(gateway);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        channels.refund(channel, 0);
    }

    function test_aFullRefundClosesAChannelThatWasNeverClaimed() public {
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = deposit(channel, 10 * USD);
        vm.expectEmit();
        emit IChannels.ChannelClosed(id, channel);
        vm.prank(gateway);
        channels.refund(channel, 10 * USD);
        vm.expectEmit();
        emit IChannels.ChannelCreated(id, channel);
        deposit(channel, 1);
    }

    function test_aSignedRefundCountsOnce() public {
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = deposit(channel, 10 * USD);
        bytes memory signature = signed(GATEWAY_KEY, channels.getRefundDigest(id, 0, 3 * USD));
        vm.prank(stranger);
        channels.refundWithSignature(channel, 3 * USD, 0, signature);
        eq(balanceOf(channel), 7 * USD, "balance");
        refuses(abi.encodeWithSelector(IChannels.RefundNonceWrong.selector, id, uint256(0), uint256(1)));
        channels.refundWithSignature(channel, 3 * USD, 0, signature);

        bytes32 digest = channels.getRefundDigest(id, 1, 3 * USD);
        signature = signed(STRANGER_KEY, digest);
        refuses(abi.encodeWithSelector(IChannels.AuthorizerSignatureInvalid.selector, gateway, digest));
        channels.refundWithSignature(channel, 3 * USD, 1, signature);
    }

    function test_aWalletWithEip1271AuthorizesClaimsAndRefunds() public {
        IChannels.ChannelConfig memory channel = config();
        channel.receiverAuthorizer = address(new Wallet(gateway));
        bytes32 id = deposit(channel, 10 * USD);
        IChannels.VoucherClaim[] memory all = rows(row(channel, TENANT_KEY, 4 * USD, 4 * USD));
        channels.claimWithSignature(all, signed(GATEWAY_KEY, channels.getClaimBatchDigest(all)));
        channels.refundWithSignature(channel, 6 * USD, 0, signed(GATEWAY_KEY, channels.getRefundDigest(id, 0, 6 * USD)));
        eq(balanceOf(channel), claimedOf(channel), "nothing left unclaimed");
    }

    function test_multicallClaimsAndRefundsInOneTransaction() public {
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = deposit(channel, 10 * USD);
        IChannels.VoucherClaim[] memory all = rows(row(channel, TENANT_KEY, 4 * USD, 4 * USD));
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(channels.claimWithSignature, (all, signed(GATEWAY_KEY, channels.getClaimBatchDigest(all))));
        calls[1] = abi.encodeCall(
            channels.refundWithSignature, (channel, 6 * USD, 0, signed(GATEWAY_KEY, channels.getRefundDigest(id, 0, 6 * USD)))
        );
        vm.prank(stranger);
        channels.multicall(calls);
        eq(balanceOf(channel), 4 * USD, "balance");
        eq(claimedOf(channel), 4 * USD, "claimed");
    }

    // The exit that needs nobody's consent

    function test_thePayerLeavesAfterTheDelay() public {
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = deposit(channel, 10 * USD);
        uint256 before = usdc.balanceOf(tenant);
        vm.startPrank(tenant);
        channels.initiateWithdraw(channel, 10 * USD);
        (uint128 amount, uint40 since) = channels.pendingWithdrawals(id);
        eq(amount, 10 * USD, "asked for");
        eq(since, START, "since");
        vm.warp(START + DELAY - 1);
        refuses(abi.encodeWithSelector(IChannels.WithdrawTooEarly.selector, id, START + DELAY, START + DELAY - 1));
        channels.finalizeWithdraw(channel);
        vm.warp(START + DELAY);
        vm.expectEmit();
        emit IChannels.ChannelClosed(id, channel);
        channels.finalizeWithdraw(channel);
        eq(usdc.balanceOf(tenant) - before, 10 * USD, "all of it");
        refuses(abi.encodeWithSelector(IChannels.NoWithdrawPending.selector, id));
        channels.finalizeWithdraw(channel);
    }

    function test_vouchersAreClaimedWhileAnExitWaits() public {
        IChannels.ChannelConfig memory channel = config();
        deposit(channel, 10 * USD);
        uint256 before = usdc.balanceOf(tenant);
        vm.prank(tenant);
        channels.initiateWithdraw(channel, 10 * USD);
        claim(channel, 9 * USD);
        vm.warp(START + DELAY);
        vm.prank(tenant);
        channels.finalizeWithdraw(channel);
        eq(usdc.balanceOf(tenant) - before, 1 * USD, "what is left");
        channels.settle(gateway, address(usdc));
        eq(usdc.balanceOf(address(channels)), 0, "nothing remains");
    }

    function test_refusesExitsOfOthersAndOfMoreThanThereIs() public {
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = deposit(channel, 10 * USD);
        claim(channel, 4 * USD);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IChannels.NotPayer.selector, id, stranger));
        channels.initiateWithdraw(channel, 1);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IChannels.NotPayer.selector, id, stranger));
        channels.finalizeWithdraw(channel);
        vm.startPrank(tenant);
        refuses(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        channels.initiateWithdraw(channel, 0);
        refuses(abi.encodeWithSelector(IChannels.WithdrawAboveAvailable.selector, id, 6 * USD + 1, 6 * USD));
        channels.initiateWithdraw(channel, 6 * USD + 1);
    }

    function test_aLostSpendingKeyCannotHoldUpItsOwner() public {
        IChannels.ChannelConfig memory channel = config();
        channel.payerAuthorizer = stranger;
        bytes32 id = deposit(channel, 10 * USD);
        vm.prank(stranger);
        channels.initiateWithdraw(channel, 1);
        vm.prank(tenant);
        channels.initiateWithdraw(channel, 10 * USD);
        vm.prank(stranger);
        refuses(abi.encodeWithSelector(IChannels.WithdrawPending.selector, id, START + DELAY));
        channels.initiateWithdraw(channel, 1);
        vm.warp(START + DELAY);
        uint256 before = usdc.balanceOf(tenant);
        // The spending key may finish an exit: the money goes to the payer all the same.
        vm.prank(stranger);
        channels.finalizeWithdraw(channel);
        eq(usdc.balanceOf(tenant) - before, 10 * USD, "all of it, to the payer");
    }

    function test_aRefundShrinksAWaitingExit() public {
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = deposit(channel, 10 * USD);
        vm.prank(tenant);
        channels.initiateWithdraw(channel, 4 * USD);
        vm.prank(gateway);
        channels.refund(channel, 1 * USD);
        (uint128 amount,) = channels.pendingWithdrawals(id);
        eq(amount, 3 * USD, "less by the refund");
        vm.prank(gateway);
        channels.refund(channel, 3 * USD);
        (, uint40 since) = channels.pendingWithdrawals(id);
        eq(since, 0, "covered");
        eq(balanceOf(channel), 6 * USD, "balance");
    }

    // Whatever the numbers

    function testFuzz_nothingIsMadeOrLost(uint128 deposited, uint128[4] memory ceilings, uint128 returned) public {
        deposited = uint128(bound(deposited, 1, 1_000_000 * USD));
        IChannels.ChannelConfig memory channel = config();
        uint256 tenantsBefore = usdc.balanceOf(tenant);
        uint256 gatewaysBefore = usdc.balanceOf(gateway);
        deposit(channel, deposited);
        uint128 highest = 0;
        for (uint256 i = 0; i < 4; i++) {
            uint128 ceiling = uint128(bound(ceilings[i], 0, deposited));
            claim(channel, ceiling);
            if (ceiling > highest) highest = ceiling;
            eq(claimedOf(channel), highest, "the highest voucher counts");
        }
        returned = uint128(bound(returned, 1, type(uint128).max));
        vm.prank(gateway);
        channels.refund(channel, returned);
        uint128 left = balanceOf(channel) - claimedOf(channel);
        eq(left, returned < deposited - highest ? deposited - highest - returned : 0, "left");
        if (left > 0) {
            vm.prank(tenant);
            channels.initiateWithdraw(channel, left);
            vm.warp(START + DELAY);
            vm.prank(tenant);
            channels.finalizeWithdraw(channel);
        }
        channels.settle(gateway, address(usdc));
        eq(usdc.balanceOf(tenant), tenantsBefore - highest, "the tenant paid the highest voucher");
        eq(usdc.balanceOf(gateway), gatewaysBefore + highest, "the gateway has it");
        eq(channels.held(), 0, "and nothing remains");
    }

    function testFuzz_noKeyButTheAuthorizersSignsVouchers(uint256 key, uint128 ceiling) public {
        key = bound(key, 1, type(uint128).max);
        vm.assume(vm.addr(key) != tenant);
        ceiling = uint128(bound(ceiling, 1, 10 * USD));
        IChannels.ChannelConfig memory channel = config();
        bytes32 id = deposit(channel, 10 * USD);
        IChannels.VoucherClaim[] memory all = rows(row(channel, key, ceiling, ceiling));
        vm.prank(gateway);
        refuses(abi.encodeWithSelector(IChannels.VoucherSignatureInvalid.selector, id, ceiling));
        channels.claim(all);
    }
}

contract Empty is IDepositCollector {
    function collect(address, address, uint256, bytes32, bytes calldata) external {}
}
