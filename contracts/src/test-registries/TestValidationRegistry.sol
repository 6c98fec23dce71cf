// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {TestIdentityRegistry} from "./TestIdentityRegistry.sol";

/// @title FOR LOCAL CHAINS ONLY: a validation registry as of ERC-8004
/// @notice The draft is the one that TestIdentityRegistry names; it says itself that this part is still under discussion.
/// Errors are our own.
contract TestValidationRegistry {
    struct Validation {
        address validatorAddress;
        uint256 agentId;
        uint8 response;
        bytes32 responseHash;
        string tag;
        uint256 lastUpdate;
        bool hasResponse;
    }

    event ValidationRequest(
        address indexed validatorAddress, uint256 indexed agentId, string requestURI, bytes32 indexed requestHash
    );
    event ValidationResponse(
        address indexed validatorAddress,
        uint256 indexed agentId,
        bytes32 indexed requestHash,
        uint8 response,
        string responseURI,
        bytes32 responseHash,
        string tag
    );

    error ValidatorMissing();
    error RequestExists(bytes32 requestHash);
    error RequestUnknown(bytes32 requestHash);
    error NotAuthorized(uint256 agentId, address caller);
    error NotValidator(bytes32 requestHash, address caller);
    error ResponseAbove100(uint8 response);

    TestIdentityRegistry private immutable _identities;
    mapping(bytes32 requestHash => Validation) private _validations;
    mapping(uint256 agentId => bytes32[]) private _ofAgent;
    mapping(address validator => bytes32[]) private _ofValidator;

    constructor(TestIdentityRegistry identities) {
        _identities = identities;
    }

    function getIdentityRegistry() external view returns (address) {
        return address(_identities);
    }

    function validationRequest(address validatorAddress, uint256 agentId, string calldata requestURI, bytes32 requestHash)
        external
    {
        if (validatorAddress == address(0)) revert ValidatorMissing();
        if (_validations[requestHash].validatorAddress != address(0)) revert RequestExists(requestHash);
        if (!_identities.isAuthorizedOrOwner(msg.sender, agentId)) revert NotAuthorized(agentId, msg.sender);
        _validations[requestHash] = Validation(validatorAddress, agentId, 0, 0, "", block.timestamp, false);
        _ofAgent[agentId].push(requestHash);
        _ofValidator[validatorAddress].push(requestHash);
        emit ValidationRequest(validatorAddress, agentId, requestURI, requestHash);
    }

    /// @dev May come again: the last one stands.
    function validationResponse(
        bytes32 requestHash,
        uint8 response,
        string calldata responseURI,
        bytes32 responseHash,
        string calldata tag
    ) external {
        Validation storage asked = _asked(requestHash);
        if (msg.sender != asked.validatorAddress) revert NotValidator(requestHash, msg.sender);
        if (response > 100) revert ResponseAbove100(response);
        asked.response = response;
        asked.responseHash = responseHash;
        asked.tag = tag;
        asked.lastUpdate = block.timestamp;
        asked.hasResponse = true;
        emit ValidationResponse(msg.sender, asked.agentId, requestHash, response, responseURI, responseHash, tag);
    }

    function getValidationStatus(bytes32 requestHash)
        external
        view
        returns (
            address validatorAddress,
            uint256 agentId,
            uint8 response,
            bytes32 responseHash,
            string memory tag,
            uint256 lastUpdate
        )
    {
        Validation storage asked = _asked(requestHash);
        return (asked.validatorAddress, asked.agentId, asked.response, asked.responseHash, asked.tag, asked.lastUpdate);
    }

    /// @dev Of no validators given: of all. Of an empty tag: of any.
    function getSummary(uint256 agentId, address[] calldata validatorAddresses, string calldata tag)
        external
        view
        returns (uint64 count, uint8 averageResponse)
    {
        uint256 sum = 0;
        bytes32[] storage hashes = _ofAgent[agentId];
        for (uint256 i = 0; i < hashes.length; i++) {
            Validation storage asked = _validations[hashes[i]];
            bool tagged = bytes(tag).length == 0 || keccak256(bytes(tag)) == keccak256(bytes(asked.tag));
            if (!asked.hasResponse || !tagged || !_isAmong(asked.validatorAddress, validatorAddresses)) continue;
            sum += asked.response;
            count++;
        }
        averageResponse = count == 0 ? 0 : uint8(sum / count);
    }

    function getAgentValidations(uint256 agentId) external view returns (bytes32[] memory) {
        return _ofAgent[agentId];
    }

    function getValidatorRequests(address validatorAddress) external view returns (bytes32[] memory) {
        return _ofValidator[validatorAddress];
    }

    function getVersion() external pure returns (string memory) {
        return "2.0.0";
    }

    function _asked(bytes32 requestHash) private view returns (Validation storage asked) {
        asked = _validations[requestHash];
        if (asked.validatorAddress == address(0)) revert RequestUnknown(requestHash);
    }

    function _isAmong(address validator, address[] calldata validators) private pure returns (bool) {
        for (uint256 i = 0; i < validators.length; i++) {
            if (validators[i] == validator) return true;
        }
        return validators.length == 0;
    }
}
