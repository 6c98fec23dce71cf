// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Channels} from "../src/Channels.sol";
import {Leases} from "../src/Leases.sol";
import {Payouts} from "../src/Payouts.sol";
import {Stakes} from "../src/Stakes.sol";
import {IChannels} from "../src/interfaces/IChannels.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IStakes} from "../src/interfaces/IStakes.sol";
import {Callback, RoguishToken} from "./kit/RoguishToken.sol";
import {ChannelKit} from "./kit/ChannelKit.sol";
import {LeaseKit} from "./kit/LeaseKit.sol";
import {PayoutKit} from "./kit/PayoutKit.sol";

/// @dev What all four contracts promise alike.
contract EscrowTest is ChannelKit, LeaseKit, PayoutKit, Callback {
    RoguishToken private rogue;
    bytes private reentry;
    address private reentered;

    // The guardian

    function test_theGuardianPausesDepositsAndNothingElse() public {
        // Everybody has something inside.
        IChannels.ChannelConfig memory channel = config();
        deposit(channel, 10 * USD);
        claim(channel, 4 * USD);
        vm.prank(tenant);
        channels.initiateWithdraw(channel, 6 * USD);
        fund(tenant, 10 * USD);
        fundGateway(10 * USD, 1000 * USD);
        vm.prank(gateway);
        payouts.requestWithdrawal(5 * USD);
        vm.startPrank(provider);
        stakes.register(keccak256("us"));
        stakes.stake(provider, 10 * USD);
        stakes.unbond(10 * USD);
        vm.stopPrank();

        pauseAll();
        bytes memory paused = abi.encodeWithSelector(Pausable.EnforcedPause.selector);
        refuses(paused);
        channels.deposit(channel, 1, address(0), "");
        refuses(paused);
        leases.deposit(tenant, 1);
        refuses(paused);
        payouts.fund(gateway, 1);
        refuses(paused);
        payouts.bond(gateway, 1);
        refuses(paused);
        stakes.stake(provider, 1);

        vm.warp(START + 30 days);
        channels.settle(gateway, address(usdc));
        vm.prank(tenant);
        channels.finalizeWithdraw(channel);
        vm.prank(tenant);
        leases.withdraw(tenant, 10 * USD);
        payouts.claimByIou(gateway, provider, 1, USD, iou(GATEWAY_KEY, provider, 1, USD));
        vm.prank(provider);
        stakes.withdraw(provider, 10 * USD);
        vm.warp(START + 4 days);
        vm.prank(gateway);
        payouts.finishWithdrawal(gateway);
        eq(channels.held() + leases.held() + stakes.held(), 0, "all have left");
        eq(payouts.held(), 1004 * USD, "as asked");

        vm.prank(guardian);
        leases.resumeDeposits();
        leases.deposit(tenant, 1);
    }

    function pauseAll() private {
        IEscrow[4] memory all = [IEscrow(channels), leases, payouts, stakes];
        for (uint256 i = 0; i < 4; i++) {
            refuses(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
            all[i].pauseDeposits();
            vm.prank(guardian);
            all[i].pauseDeposits();
            refuses(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
            all[i].resumeDeposits();
        }
    }

    function test_refusesNoToken() public {
        refuses(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
        new Channels(IERC20(address(0)), guardian);
    }

    // Tokens that do not move what they say

    function roguish() private {
        rogue = new RoguishToken();
        channels = new Channels(rogue, guardian);
        leases = new Leases(rogue, guardian);
        payouts = new Payouts(rogue, guardian, payoutTerms());
        address[] memory auditors = new address[](5);
        for (uint256 i = 0; i < 5; i++) {
            auditors[i] = vm.addr(auditorKeys[i]);
        }
        stakes = new Stakes(rogue, guardian, stakeTerms(), auditors);
        rogue.mint(address(this), 1000 * USD);
        address[4] memory spenders = [address(channels), address(leases), address(payouts), address(stakes)];
        for (uint256 i = 0; i < 4; i++) {
            rogue.approve(spenders[i], type(uint256).max);
        }
        stakes.register(keccak256("us"));
    }

    /// @dev Every way in, with `amount` of the roguish token.
    function wayIn(uint256 way, uint128 amount) private returns (address) {
        if (way == 0) {
            IChannels.ChannelConfig memory channel = config();
            (channel.payer, channel.token) = (address(this), address(rogue));
            channels.deposit(channel, amount, address(0), "");
            return address(channels);
        }
        if (way == 1) leases.deposit(address(this), amount);
        if (way == 1) return address(leases);
        if (way == 2) payouts.fund(address(this), amount);
        if (way == 3) payouts.bond(address(this), amount);
        if (way == 2 || way == 3) return address(payouts);
        stakes.stake(address(this), amount);
        return address(stakes);
    }

    function test_refusesATokenThatTakesAFee() public {
        roguish();
        rogue.setFee(1);
        for (uint256 way = 0; way < 5; way++) {
            refuses(abi.encodeWithSelector(IEscrow.TransferNotExact.selector, uint256(100), uint256(0), uint256(99)));
            this.tryWayIn(way, 100);
        }
        rogue.setFee(0);
        for (uint256 way = 0; way < 5; way++) {
            wayIn(way, 100);
        }
    }

    function test_refusesATokenThatShrinks() public {
        roguish();
        for (uint256 way = 0; way < 5; way++) {
            if (way == 3) continue;
            address inside = wayIn(way, 100);
            rogue.rebase(inside, 99);
            refuses(abi.encodeWithSelector(IEscrow.TokenShrank.selector, uint256(100), uint256(99)));
            this.tryWayIn(way, 1);
            rogue.rebase(inside, 100);
            wayIn(way, 1);
        }
    }

    function test_whatItGrowsByIsNobodysAndBlocksNobody() public {
        roguish();
        address inside = wayIn(1, 100);
        rogue.rebase(inside, 1000);
        wayIn(1, 1);
        leases.withdraw(address(this), 101);
        eq(leases.held(), 0, "out with what was put in");
    }

    function tryWayIn(uint256 way, uint128 amount) external {
        wayIn(way, amount);
    }

    // Reentrancy

    function onTransfer() external {
        if (reentered == address(0)) return;
        (bool done, bytes memory answer) = reentered.call(reentry);
        vm.assertTrue(!done, "a call from within a call goes through");
        eq(bytes32(answer), bytes32(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector), "for another reason");
        rogue.count();
    }

    function test_nothingIsEnteredFromWithinATransfer() public {
        roguish();
        IChannels.ChannelConfig memory channel = config();
        (channel.payer, channel.receiver, channel.token) = (address(this), address(this), address(rogue));
        channels.deposit(channel, 100, address(0), "");
        leases.deposit(address(this), 100);
        payouts.fund(address(this), 100);
        payouts.requestWithdrawal(50);
        stakes.stake(address(this), 100);
        stakes.unbond(50);
        channels.initiateWithdraw(channel, 50);
        vm.warp(START + 2 days);
        rogue.setCallback(this);

        reentered = address(channels);
        reentry = abi.encodeCall(channels.finalizeWithdraw, (channel));
        channels.deposit(channel, 1, address(0), "");
        channels.finalizeWithdraw(channel);
        channels.refund(channel, 1);
        reentry = abi.encodeCall(channels.settle, (address(this), address(rogue)));
        channels.refund(channel, 1);

        reentered = address(leases);
        reentry = abi.encodeCall(leases.withdraw, (address(this), 1));
        leases.deposit(address(this), 1);
        leases.withdraw(address(this), 1);

        reentered = address(payouts);
        reentry = abi.encodeCall(payouts.finishWithdrawal, (address(this)));
        payouts.fund(address(this), 1);
        payouts.bond(address(this), 1);
        payouts.finishWithdrawal(address(this));

        reentered = address(stakes);
        reentry = abi.encodeCall(stakes.withdraw, (address(this), 1));
        stakes.stake(address(this), 1);
        vm.warp(START + 21 days);
        stakes.withdraw(address(this), 50);
        eq(rogue.counted(), 11, "each was tried");
    }
}
