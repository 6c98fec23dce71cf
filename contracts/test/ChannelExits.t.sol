// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IChannels} from "../src/interfaces/IChannels.sol";
import {IDepositCollector} from "../src/interfaces/IDepositCollector.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Wallet} from "./kit/Kit.sol";
import {ChannelKit} from "./kit/ChannelKit.sol";

contract ChannelExitsTest is ChannelKit {
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
