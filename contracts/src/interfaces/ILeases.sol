// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IEscrow} from "./IEscrow.sol";

/// @title Leases: a machine's time, paid by the second
/// @notice A lease opens with two signatures, the tenant's order and the provider's bid for it, so nobody can be matched against
/// their will. From then on the provider earns `rate` a second, out of a deposit that the tenant set aside, and never more
/// than that; nobody has to do anything for it. The tenant may close at any time, the provider after the agreed notice,
/// anybody once the deposit is used up or the notice is over.
///
/// Each lease is one slot: 216 bits of the hash of a `Lease`, and the second up to which it is settled. Whoever acts on a lease
/// brings that struct, as the last event of the lease told it. Only the tenant's top-up and the provider's one notice change
/// the struct, so that nobody can make a closing stale again and again. Money stands in accounts of this contract; leases
/// move it between them.
///
/// Rates are in atto-dollars (1e-18) a second, the deposit in units of the token, taken as a dollar each.
/// EIP-712, domain `{ name: "Baseload Leases", version: "1", chainId, verifyingContract }`:
///
/// - `Order(address tenant,address gateway,bytes32 terms,uint96 maxRate,uint128 deposit,uint32 minNotice,uint40 openBy,bytes32 salt)`,
///   signed by the tenant; its struct hash is the lease's id
/// - `Bid(bytes32 order,address provider,bytes32 node,uint96 rate,uint32 notice,uint40 openBy)`, signed by the provider
/// - `Close(bytes32 lease)`, signed by the tenant: lets anybody close it, a gateway that watches the node for one
///
/// Either signer may be a wallet with EIP-1271.
interface ILeases is IEscrow {
    struct Order {
        address tenant;
        /// @dev Who may match it with a bid; zero: whoever holds both signatures.
        address gateway;
        /// @dev What is to run: the hash of the deployment's group.
        bytes32 terms;
        uint96 maxRate;
        uint128 deposit;
        /// @dev Seconds of notice the provider must promise at least.
        uint32 minNotice;
        /// @dev The last second at which a lease may open by it.
        uint40 openBy;
        bytes32 salt;
    }

    struct Bid {
        address provider;
        /// @dev The node that will run it.
        bytes32 node;
        uint96 rate;
        uint32 notice;
        uint40 openBy;
    }

    struct Opening {
        Order order;
        bytes tenantSignature;
        Bid bid;
        bytes providerSignature;
    }

    /// @dev What the book keeps the hash of.
    struct Lease {
        address tenant;
        address provider;
        uint96 rate;
        uint128 deposit;
        uint40 startedAt;
        /// @dev Of the order: until then its signatures could open it again, and the book remembers that it was.
        uint40 openBy;
        uint32 notice;
        /// @dev When the provider's notice is over and nothing more is earned; 0 without notice.
        uint40 endsAt;
    }

    struct Closing {
        bytes32 id;
        Lease lease;
        /// @dev The tenant's over `Close`; empty where the caller may close by itself.
        bytes tenantSignature;
    }

    event Deposited(address indexed account, address indexed sender, uint256 amount);
    event Withdrawn(address indexed account, address indexed to, uint256 amount);
    /// @notice A lease began; its `Lease` has these fields but for the node, and `endsAt` 0.
    event LeaseOpened(
        bytes32 indexed id,
        address indexed tenant,
        address indexed provider,
        bytes32 node,
        uint96 rate,
        uint128 deposit,
        uint40 startedAt,
        uint40 openBy,
        uint32 notice
    );
    /// @notice A lease's kept struct is `lease` from now on.
    event LeaseChanged(bytes32 indexed id, Lease lease);
    event LeaseSettled(bytes32 indexed id, uint128 toProvider, uint40 settledAt);
    event LeaseClosed(bytes32 indexed id, uint128 toProvider, uint128 toTenant);

    /// @notice The token has more decimals than an atto-dollar has.
    error TooManyDecimals(uint8 decimals, uint8 max);
    error BalanceTooLow(address account, uint256 balance, uint256 needed);
    error OrderExpired(bytes32 id, uint40 openBy, uint256 timestamp);
    error BidExpired(bytes32 id, uint40 openBy, uint256 timestamp);
    error NotGateway(bytes32 id, address caller, address gateway);
    error RateAboveOrder(bytes32 id, uint96 rate, uint96 maxRate);
    error NoticeBelowOrder(bytes32 id, uint32 notice, uint32 minNotice);
    error OrderSignatureInvalid(bytes32 id, address tenant);
    error BidSignatureInvalid(bytes32 id, address provider);
    error CloseSignatureInvalid(bytes32 id, address tenant);
    /// @notice This order opened a lease already.
    error LeaseExists(bytes32 id);
    /// @notice No lease stands under this id with these contents: see the last event of the lease.
    error LeaseUnknown(bytes32 id, bytes32 given, bytes32 kept);
    error NotTenant(bytes32 id, address caller);
    error NotProvider(bytes32 id, address caller);
    error NoticeGiven(bytes32 id, uint40 endsAt);
    error NoticeOver(bytes32 id, uint40 endsAt);
    /// @notice The deposit was used up: what comes now would pay for time at which nothing had to run.
    error LeaseRanOut(bytes32 id, uint128 deposit);
    /// @notice The caller may not close yet; anybody may from when the notice is over or the deposit is used up.
    error MayNotClose(bytes32 id, address caller, uint40 endsAt);

    /// @notice Adds the caller's tokens to an account.
    function deposit(address account, uint128 amount) external;

    /// @notice Takes tokens out of the caller's own account.
    function withdraw(address to, uint256 amount) external;

    /// @notice Opens a lease, for anybody who brings both signatures, or the order's gateway where it names one.
    function open(Opening calldata opening) external returns (bytes32 id);

    /// @notice Opens all of these, or none.
    function openMany(Opening[] calldata openings) external;

    /// @notice Sets more of the tenant's account aside for a lease that is not used up. For the tenant.
    function topUp(bytes32 id, Lease calldata lease, uint128 amount) external;

    /// @notice Credits the provider with what was earned so far. For anybody to call.
    function settle(bytes32 id, Lease calldata lease) external;

    /// @notice The provider says that it will stop, `notice` seconds from now. Nothing is earned after that.
    function giveNotice(bytes32 id, Lease calldata lease) external;

    /// @notice Ends a lease: what was earned goes to the provider's account, the rest to the tenant's.
    function close(Closing calldata closing) external;

    /// @notice Ends all of these, or none.
    function closeMany(Closing[] calldata closings) external;

    /// @notice Units of the token that an account can spend or withdraw.
    function balanceOf(address account) external view returns (uint256);

    /// @notice A lease's slot: 216 bits of its struct's hash, and 40 of the second up to which it is settled. 0: no such lease,
    /// or one that is long over. 1: over, and may not open again.
    function slotOf(bytes32 id) external view returns (bytes32);

    /// @notice What the provider earns of the deposit until `timestamp`, settled or not.
    function accrued(Lease calldata lease, uint40 timestamp) external view returns (uint128);

    function orderId(Order calldata order) external view returns (bytes32);
    function orderDigest(Order calldata order) external view returns (bytes32);
    function bidDigest(bytes32 id, Bid calldata bid) external view returns (bytes32);
    function closeDigest(bytes32 id) external view returns (bytes32);
}
