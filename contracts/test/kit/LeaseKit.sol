// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILeases} from "../../src/interfaces/ILeases.sol";
import {Kit} from "./Kit.sol";

abstract contract LeaseKit is Kit {
    /// @dev Two dollars an hour, in atto-dollars a second, rounded up.
    uint96 internal constant RATE = 555_555_555_555_556;

    function order() internal view returns (ILeases.Order memory) {
        return ILeases.Order({
            tenant: tenant,
            gateway: address(0),
            terms: keccak256("a group"),
            maxRate: RATE,
            deposit: 48 * USD,
            minNotice: 10 minutes,
            openBy: uint40(START + 5 minutes),
            salt: keccak256("the first")
        });
    }

    function bid() internal view returns (ILeases.Bid memory) {
        return ILeases.Bid({
            provider: provider,
            node: bytes32(uint256(uint160(node))),
            rate: RATE,
            notice: 10 minutes,
            openBy: uint40(START + 5 minutes)
        });
    }

    function openingOf(ILeases.Order memory order_, ILeases.Bid memory bid_) internal view returns (ILeases.Opening memory) {
        return ILeases.Opening({
            order: order_,
            tenantSignature: signed(TENANT_KEY, leases.orderDigest(order_)),
            bid: bid_,
            providerSignature: signed(PROVIDER_KEY, leases.bidDigest(leases.orderId(order_), bid_))
        });
    }

    /// @dev The struct of a lease that opens now.
    function leaseOf(ILeases.Order memory order_, ILeases.Bid memory bid_) internal view returns (ILeases.Lease memory) {
        return ILeases.Lease({
            tenant: order_.tenant,
            provider: bid_.provider,
            rate: bid_.rate,
            deposit: order_.deposit,
            startedAt: uint40(block.timestamp),
            openBy: order_.openBy,
            notice: bid_.notice,
            endsAt: 0
        });
    }

    function fund(address account, uint128 amount) internal {
        vm.prank(account);
        leases.deposit(account, amount);
    }

    /// @dev Funds the tenant and opens the usual lease.
    function opened() internal returns (bytes32 id, ILeases.Lease memory lease) {
        fund(tenant, 100 * USD);
        id = leases.open(openingOf(order(), bid()));
        lease = leaseOf(order(), bid());
    }

    function closing(bytes32 id, ILeases.Lease memory lease) internal pure returns (ILeases.Closing memory) {
        return ILeases.Closing(id, lease, "");
    }
}
