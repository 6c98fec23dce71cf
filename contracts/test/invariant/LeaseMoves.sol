// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILeases} from "../../src/interfaces/ILeases.sol";
import {World} from "./World.sol";

abstract contract LeaseMoves is World {
    struct Running {
        bytes32 id;
        ILeases.Lease lease;
        uint256 tenant;
        uint256 provider;
        /// @dev By the model.
        uint256 settled;
    }

    Running[] private _running;
    uint256 private _salt;

    function leaseDeposit(uint8 i, uint128 amount) external {
        amount = some(amount, usdc.balanceOf(party(i)) / 4);
        if (amount != 0) fund(party(i), amount);
    }

    function leaseWithdraw(uint8 i, uint128 amount) external {
        amount = some(amount, leases.balanceOf(party(i)));
        if (amount == 0) return;
        vm.prank(party(i));
        leases.withdraw(party(i), amount);
    }

    function leaseOpen(uint8 tenant_, uint8 provider_, uint128 amount, uint96 rate, uint32 notice) external {
        if (_running.length == 6) return;
        ILeases.Order memory order_ = order();
        order_.tenant = party(tenant_);
        order_.deposit = uint128(bound(amount, 0, leases.balanceOf(order_.tenant)));
        order_.maxRate = uint96(bound(rate, 0, 1e18));
        order_.minNotice = 0;
        order_.openBy = uint40(block.timestamp + bound(notice, 0, 1 days));
        order_.salt = bytes32(_salt++);
        ILeases.Bid memory bid_ = bid();
        (bid_.provider, bid_.rate) = (party(provider_), order_.maxRate);
        (bid_.notice, bid_.openBy) = (uint32(bound(notice, 0, 1 days)), order_.openBy);
        bytes32 id = leases.orderId(order_);
        leases.open(
            ILeases.Opening(
                order_,
                signed(keyOf(tenant_), leases.orderDigest(order_)),
                bid_,
                signed(keyOf(provider_), leases.bidDigest(id, bid_))
            )
        );
        _running.push(Running(id, leaseOf(order_, bid_), tenant_ % PARTIES, provider_ % PARTIES, 0));
    }

    /// @dev Rate times time until now or the end of the notice, in units of the token, at most the deposit.
    function earnedBy(ILeases.Lease memory lease) private view returns (uint256 earned) {
        uint256 until = block.timestamp;
        if (lease.endsAt != 0 && until > lease.endsAt) until = lease.endsAt;
        earned = (until - lease.startedAt) * lease.rate / 1e12;
        if (earned > lease.deposit) earned = lease.deposit;
    }

    function paid(Running storage running) private {
        uint256 earned = earnedBy(running.lease);
        moves(running.tenant, running.provider, earned - running.settled);
        running.settled = earned;
    }

    function leaseSettle(uint8 which) external {
        if (_running.length == 0) return;
        Running storage running = _running[which % _running.length];
        leases.settle(running.id, running.lease);
        paid(running);
    }

    function leaseTopUp(uint8 which, uint128 amount) external {
        if (_running.length == 0) return;
        Running storage running = _running[which % _running.length];
        ILeases.Lease memory lease = running.lease;
        amount = some(amount, leases.balanceOf(lease.tenant));
        bool over = earnedBy(lease) == lease.deposit || (lease.endsAt != 0 && block.timestamp >= lease.endsAt);
        if (amount == 0 || over) return;
        vm.prank(lease.tenant);
        leases.topUp(running.id, lease, amount);
        running.lease.deposit += amount;
    }

    function leaseNotice(uint8 which) external {
        if (_running.length == 0) return;
        Running storage running = _running[which % _running.length];
        if (running.lease.endsAt != 0) return;
        vm.prank(running.lease.provider);
        leases.giveNotice(running.id, running.lease);
        running.lease.endsAt = uint40(block.timestamp) + running.lease.notice;
    }

    function leaseClose(uint8 which, bool bySignature) external {
        if (_running.length != 0) end(which % _running.length, bySignature);
    }

    function end(uint256 which, bool bySignature) private {
        Running storage running = _running[which];
        ILeases.Closing memory over = closing(running.id, running.lease);
        if (bySignature) over.tenantSignature = signed(keyOf(running.tenant), leases.closeDigest(running.id));
        else vm.prank(running.lease.tenant);
        leases.close(over);
        paid(running);
        _running[which] = _running[_running.length - 1];
        _running.pop();
    }

    function worthInLeases(uint256 i) public view returns (uint256 worth) {
        worth = leases.balanceOf(party(i));
        for (uint256 j = 0; j < _running.length; j++) {
            if (_running[j].tenant == i) worth += _running[j].lease.deposit - _running[j].settled;
        }
    }

    function endLeases() public {
        while (_running.length != 0) end(0, false);
    }

    function leaveLeases(uint256 i) public {
        uint256 balance = leases.balanceOf(party(i));
        if (balance == 0) return;
        vm.prank(party(i));
        leases.withdraw(party(i), balance);
    }
}
