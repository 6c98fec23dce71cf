// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IChannels} from "../src/interfaces/IChannels.sol";
import {IDepositCollector} from "../src/interfaces/IDepositCollector.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Wallet} from "./kit/Kit.sol";
import {ChannelKit} from "./kit/ChannelKit.sol";

contract ChannelDepositsTest is ChannelKit {
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
}

contract Empty is IDepositCollector {
    function collect(address, address, uint256, bytes32, bytes calldata) external {}
}
