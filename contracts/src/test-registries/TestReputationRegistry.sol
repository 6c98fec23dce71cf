// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {TestIdentityRegistry} from "./TestIdentityRegistry.sol";

/// @title FOR LOCAL CHAINS ONLY: a reputation registry as of ERC-8004
/// @notice The draft is the one that TestIdentityRegistry names. Errors are our own. Left out: `readAllFeedback`,
/// `getResponseCount`.
contract TestReputationRegistry {
    struct Feedback {
        int128 value;
        uint8 valueDecimals;
        bool isRevoked;
        string tag1;
        string tag2;
    }

    event NewFeedback(
        uint256 indexed agentId,
        address indexed clientAddress,
        uint64 feedbackIndex,
        int128 value,
        uint8 valueDecimals,
        string indexed indexedTag1,
        string tag1,
        string tag2,
        string endpoint,
        string feedbackURI,
        bytes32 feedbackHash
    );
    event FeedbackRevoked(uint256 indexed agentId, address indexed clientAddress, uint64 indexed feedbackIndex);
    event ResponseAppended(
        uint256 indexed agentId,
        address indexed clientAddress,
        uint64 feedbackIndex,
        address indexed responder,
        string responseURI,
        bytes32 responseHash
    );

    /// @notice At most 18 decimals, and 1e38 either way.
    error ValueInvalid(int128 value, uint8 valueDecimals);
    /// @notice The agent's owner and operators do not rate it.
    error SelfFeedback(uint256 agentId, address clientAddress);
    error FeedbackUnknown(uint256 agentId, address clientAddress, uint64 feedbackIndex);
    error FeedbackIsRevoked(uint256 agentId, address clientAddress, uint64 feedbackIndex);
    error ResponseEmpty();
    /// @notice Without clients, anybody could count as many as they like.
    error ClientsMissing();

    int128 private constant MOST = 1e38;

    TestIdentityRegistry private immutable _identities;
    mapping(uint256 agentId => mapping(address client => Feedback[])) private _feedback;
    mapping(uint256 agentId => address[]) private _clients;

    constructor(TestIdentityRegistry identities) {
        _identities = identities;
    }

    function getIdentityRegistry() external view returns (address) {
        return address(_identities);
    }

    /// @dev Indexes count from 1.
    function giveFeedback(
        uint256 agentId,
        int128 value,
        uint8 valueDecimals,
        string memory tag1,
        string memory tag2,
        string memory endpoint,
        string memory feedbackURI,
        bytes32 feedbackHash
    ) external {
        emit NewFeedback(
            agentId,
            msg.sender,
            _keep(agentId, Feedback(value, valueDecimals, false, tag1, tag2)),
            value,
            valueDecimals,
            tag1,
            tag1,
            tag2,
            endpoint,
            feedbackURI,
            feedbackHash
        );
    }

    function revokeFeedback(uint256 agentId, uint64 feedbackIndex) external {
        Feedback storage given = _at(agentId, msg.sender, feedbackIndex);
        if (given.isRevoked) revert FeedbackIsRevoked(agentId, msg.sender, feedbackIndex);
        given.isRevoked = true;
        emit FeedbackRevoked(agentId, msg.sender, feedbackIndex);
    }

    function appendResponse(
        uint256 agentId,
        address clientAddress,
        uint64 feedbackIndex,
        string calldata responseURI,
        bytes32 responseHash
    ) external {
        _at(agentId, clientAddress, feedbackIndex);
        if (bytes(responseURI).length == 0) revert ResponseEmpty();
        emit ResponseAppended(agentId, clientAddress, feedbackIndex, msg.sender, responseURI, responseHash);
    }

    function readFeedback(uint256 agentId, address clientAddress, uint64 feedbackIndex)
        external
        view
        returns (int128 value, uint8 valueDecimals, string memory tag1, string memory tag2, bool isRevoked)
    {
        Feedback storage given = _at(agentId, clientAddress, feedbackIndex);
        return (given.value, given.valueDecimals, given.tag1, given.tag2, given.isRevoked);
    }

    /// @dev The average, with as many decimals as most of the values have.
    function getSummary(uint256 agentId, address[] calldata clientAddresses, string calldata tag1, string calldata tag2)
        external
        view
        returns (uint64 count, int128 summaryValue, uint8 summaryValueDecimals)
    {
        if (clientAddresses.length == 0) revert ClientsMissing();
        int256 sum = 0;
        uint64[19] memory having;
        for (uint256 i = 0; i < clientAddresses.length; i++) {
            Feedback[] storage given = _feedback[agentId][clientAddresses[i]];
            for (uint256 j = 0; j < given.length; j++) {
                if (given[j].isRevoked || !_matches(tag1, given[j].tag1) || !_matches(tag2, given[j].tag2)) continue;
                sum += given[j].value * int256(10 ** (18 - given[j].valueDecimals));
                having[given[j].valueDecimals]++;
                count++;
            }
        }
        if (count == 0) return (0, 0, 0);
        for (uint8 decimals = 1; decimals <= 18; decimals++) {
            if (having[decimals] > having[summaryValueDecimals]) summaryValueDecimals = decimals;
        }
        summaryValue = int128(sum / int256(uint256(count)) / int256(10 ** (18 - summaryValueDecimals)));
    }

    function getClients(uint256 agentId) external view returns (address[] memory) {
        return _clients[agentId];
    }

    function getLastIndex(uint256 agentId, address clientAddress) external view returns (uint64) {
        return uint64(_feedback[agentId][clientAddress].length);
    }

    function getVersion() external pure returns (string memory) {
        return "2.0.0";
    }

    function _keep(uint256 agentId, Feedback memory feedback) private returns (uint64 feedbackIndex) {
        (int128 value, uint8 decimals) = (feedback.value, feedback.valueDecimals);
        if (decimals > 18 || value > MOST || value < -MOST) revert ValueInvalid(value, decimals);
        if (_identities.isAuthorizedOrOwner(msg.sender, agentId)) revert SelfFeedback(agentId, msg.sender);
        Feedback[] storage given = _feedback[agentId][msg.sender];
        if (given.length == 0) _clients[agentId].push(msg.sender);
        given.push(feedback);
        return uint64(given.length);
    }

    function _at(uint256 agentId, address client, uint64 index) private view returns (Feedback storage) {
        Feedback[] storage given = _feedback[agentId][client];
        if (index == 0 || index > given.length) revert FeedbackUnknown(agentId, client, index);
        return given[index - 1];
    }

    function _matches(string calldata wanted, string storage tag) private pure returns (bool) {
        return bytes(wanted).length == 0 || keccak256(bytes(wanted)) == keccak256(bytes(tag));
    }
}
