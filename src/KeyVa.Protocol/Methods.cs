using KeyVa.Protocol.Grpc;

namespace KeyVa.Protocol.V1;

/// <summary>The methods of data.proto and control.proto, for the server that answers them and the client that calls them.</summary>
public static class Methods
{
    /// <summary>The service of data.proto.</summary>
    public const string DataPlane = "keyva.v1.DataPlane";

    /// <summary>The service of control.proto.</summary>
    public const string ControlPlane = "keyva.v1.ControlPlane";

    /// <summary>Upsert, as data.proto describes it.</summary>
    public static readonly GrpcMethod<UpsertRequest, WriteResponse> Upsert = new(DataPlane, "Upsert", UpsertRequest.Parser, WriteResponse.Parser);

    /// <summary>Get, as data.proto describes it.</summary>
    public static readonly GrpcMethod<GetRequest, GetResponse> Get = new(DataPlane, "Get", GetRequest.Parser, GetResponse.Parser);

    /// <summary>Remove, as data.proto describes it.</summary>
    public static readonly GrpcMethod<RemoveRequest, WriteResponse> Remove = new(DataPlane, "Remove", RemoveRequest.Parser, WriteResponse.Parser);

    /// <summary>Write, as data.proto describes it.</summary>
    public static readonly GrpcMethod<WriteRequest, WriteResponse> Write = new(DataPlane, "Write", WriteRequest.Parser, WriteResponse.Parser);

    /// <summary>Scan, as data.proto describes it.</summary>
    public static readonly GrpcMethod<ScanRequest, ScanResponse> Scan = new(DataPlane, "Scan", ScanRequest.Parser, ScanResponse.Parser);

    /// <summary>Watch, as data.proto describes it.</summary>
    public static readonly GrpcMethod<WatchRequest, WatchResponse> Watch = new(DataPlane, "Watch", WatchRequest.Parser, WatchResponse.Parser);

    /// <summary>BulkUpsert, as data.proto describes it.</summary>
    public static readonly GrpcMethod<BulkUpsertRequest, BulkUpsertResponse> BulkUpsert =
        new(DataPlane, "BulkUpsert", BulkUpsertRequest.Parser, BulkUpsertResponse.Parser);

    /// <summary>OpenSessions, as data.proto describes it.</summary>
    public static readonly GrpcMethod<OpenSessionsRequest, OpenSessionsResponse> OpenSessions =
        new(DataPlane, "OpenSessions", OpenSessionsRequest.Parser, OpenSessionsResponse.Parser);

    /// <summary>History, as data.proto describes it.</summary>
    public static readonly GrpcMethod<HistoryRequest, HistoryResponse> History = new(DataPlane, "History", HistoryRequest.Parser, HistoryResponse.Parser);

    /// <summary>Revert, as data.proto describes it.</summary>
    public static readonly GrpcMethod<RevertRequest, RevertResponse> Revert = new(DataPlane, "Revert", RevertRequest.Parser, RevertResponse.Parser);

    /// <summary>Query, as data.proto describes it.</summary>
    public static readonly GrpcMethod<QueryRequest, QueryResponse> Query = new(DataPlane, "Query", QueryRequest.Parser, QueryResponse.Parser);

    /// <summary>ListIndexes, as data.proto describes it.</summary>
    public static readonly GrpcMethod<ListIndexesRequest, ListIndexesResponse> ListIndexes =
        new(DataPlane, "ListIndexes", ListIndexesRequest.Parser, ListIndexesResponse.Parser);

    /// <summary>WaitIndex, as data.proto describes it.</summary>
    public static readonly GrpcMethod<WaitIndexRequest, IndexProgress> WaitIndex = new(DataPlane, "WaitIndex", WaitIndexRequest.Parser, IndexProgress.Parser);

    /// <summary>Begin, as data.proto describes it.</summary>
    public static readonly GrpcMethod<BeginRequest, BeginResponse> Begin = new(DataPlane, "Begin", BeginRequest.Parser, BeginResponse.Parser);

    /// <summary>TxnGet, as data.proto describes it.</summary>
    public static readonly GrpcMethod<TxnGetRequest, GetResponse> TxnGet = new(DataPlane, "TxnGet", TxnGetRequest.Parser, GetResponse.Parser);

    /// <summary>TxnScan, as data.proto describes it.</summary>
    public static readonly GrpcMethod<TxnScanRequest, ScanResponse> TxnScan = new(DataPlane, "TxnScan", TxnScanRequest.Parser, ScanResponse.Parser);

    /// <summary>TxnQuery, as data.proto describes it.</summary>
    public static readonly GrpcMethod<TxnQueryRequest, QueryResponse> TxnQuery = new(DataPlane, "TxnQuery", TxnQueryRequest.Parser, QueryResponse.Parser);

    /// <summary>TxnWrite, as data.proto describes it.</summary>
    public static readonly GrpcMethod<TxnWriteRequest, WriteResponse> TxnWrite = new(DataPlane, "TxnWrite", TxnWriteRequest.Parser, WriteResponse.Parser);

    /// <summary>SetSavepoint, as data.proto describes it.</summary>
    public static readonly GrpcMethod<SetSavepointRequest, SetSavepointResponse> SetSavepoint = new(DataPlane, "SetSavepoint", SetSavepointRequest.Parser, SetSavepointResponse.Parser);

    /// <summary>RollbackTo, as data.proto describes it.</summary>
    public static readonly GrpcMethod<RollbackToRequest, RollbackToResponse> RollbackTo = new(DataPlane, "RollbackTo", RollbackToRequest.Parser, RollbackToResponse.Parser);

    /// <summary>Commit, as data.proto describes it.</summary>
    public static readonly GrpcMethod<CommitRequest, CommitResponse> Commit = new(DataPlane, "Commit", CommitRequest.Parser, CommitResponse.Parser);

    /// <summary>Rollback, as data.proto describes it.</summary>
    public static readonly GrpcMethod<RollbackRequest, RollbackResponse> Rollback = new(DataPlane, "Rollback", RollbackRequest.Parser, RollbackResponse.Parser);

    /// <summary>Transact, as data.proto describes it.</summary>
    public static readonly GrpcMethod<TransactRequest, TransactResponse> Transact = new(DataPlane, "Transact", TransactRequest.Parser, TransactResponse.Parser);

    /// <summary>AddPartition, as control.proto describes it.</summary>
    public static readonly GrpcMethod<AddPartitionRequest, AddPartitionResponse> AddPartition =
        new(ControlPlane, "AddPartition", AddPartitionRequest.Parser, AddPartitionResponse.Parser);

    /// <summary>RemovePartition, as control.proto describes it.</summary>
    public static readonly GrpcMethod<RemovePartitionRequest, RemovePartitionResponse> RemovePartition =
        new(ControlPlane, "RemovePartition", RemovePartitionRequest.Parser, RemovePartitionResponse.Parser);

    /// <summary>ListPartitions, as control.proto describes it.</summary>
    public static readonly GrpcMethod<ListPartitionsRequest, ListPartitionsResponse> ListPartitions =
        new(ControlPlane, "ListPartitions", ListPartitionsRequest.Parser, ListPartitionsResponse.Parser);

    /// <summary>SetPartition, as control.proto describes it.</summary>
    public static readonly GrpcMethod<SetPartitionRequest, SetPartitionResponse> SetPartition =
        new(ControlPlane, "SetPartition", SetPartitionRequest.Parser, SetPartitionResponse.Parser);

    /// <summary>Snapshot, as control.proto describes it.</summary>
    public static readonly GrpcMethod<SnapshotRequest, SnapshotProgress> Snapshot =
        new(ControlPlane, "Snapshot", SnapshotRequest.Parser, SnapshotProgress.Parser);

    /// <summary>GetConfig, as control.proto describes it.</summary>
    public static readonly GrpcMethod<GetConfigRequest, GetConfigResponse> GetConfig =
        new(ControlPlane, "GetConfig", GetConfigRequest.Parser, GetConfigResponse.Parser);

    /// <summary>SetConfig, as control.proto describes it.</summary>
    public static readonly GrpcMethod<SetConfigRequest, SetConfigResponse> SetConfig =
        new(ControlPlane, "SetConfig", SetConfigRequest.Parser, SetConfigResponse.Parser);

    /// <summary>ListSlowRequests, as control.proto describes it.</summary>
    public static readonly GrpcMethod<ListSlowRequestsRequest, ListSlowRequestsResponse> ListSlowRequests =
        new(ControlPlane, "ListSlowRequests", ListSlowRequestsRequest.Parser, ListSlowRequestsResponse.Parser);

    /// <summary>ClearSlowRequests, as control.proto describes it.</summary>
    public static readonly GrpcMethod<ClearSlowRequestsRequest, ClearSlowRequestsResponse> ClearSlowRequests =
        new(ControlPlane, "ClearSlowRequests", ClearSlowRequestsRequest.Parser, ClearSlowRequestsResponse.Parser);

    /// <summary>ListTransactions, as control.proto describes it.</summary>
    public static readonly GrpcMethod<ListTransactionsRequest, ListTransactionsResponse> ListTransactions =
        new(ControlPlane, "ListTransactions", ListTransactionsRequest.Parser, ListTransactionsResponse.Parser);

    /// <summary>EndTransaction, as control.proto describes it.</summary>
    public static readonly GrpcMethod<EndTransactionRequest, EndTransactionResponse> EndTransaction =
        new(ControlPlane, "EndTransaction", EndTransactionRequest.Parser, EndTransactionResponse.Parser);

    /// <summary>Scrub, as control.proto describes it.</summary>
    public static readonly GrpcMethod<ScrubRequest, ScrubProgress> Scrub =
        new(ControlPlane, "Scrub", ScrubRequest.Parser, ScrubProgress.Parser);

    /// <summary>Compact, as control.proto describes it.</summary>
    public static readonly GrpcMethod<CompactRequest, CompactProgress> Compact =
        new(ControlPlane, "Compact", CompactRequest.Parser, CompactProgress.Parser);

    /// <summary>CreateIndex, as control.proto describes it.</summary>
    public static readonly GrpcMethod<CreateIndexRequest, CreateIndexResponse> CreateIndex =
        new(ControlPlane, "CreateIndex", CreateIndexRequest.Parser, CreateIndexResponse.Parser);

    /// <summary>DropIndex, as control.proto describes it.</summary>
    public static readonly GrpcMethod<DropIndexRequest, DropIndexResponse> DropIndex =
        new(ControlPlane, "DropIndex", DropIndexRequest.Parser, DropIndexResponse.Parser);

    /// <summary>Stats, as control.proto describes it.</summary>
    public static readonly GrpcMethod<StatsRequest, StatsResponse> Stats =
        new(ControlPlane, "Stats", StatsRequest.Parser, StatsResponse.Parser);

    /// <summary>ClusterStatus, as control.proto describes it.</summary>
    public static readonly GrpcMethod<ClusterStatusRequest, ClusterStatusResponse> ClusterStatus =
        new(ControlPlane, "ClusterStatus", ClusterStatusRequest.Parser, ClusterStatusResponse.Parser);

    /// <summary>AddNode, as control.proto describes it.</summary>
    public static readonly GrpcMethod<AddNodeRequest, ClusterChangeResponse> AddNode =
        new(ControlPlane, "AddNode", AddNodeRequest.Parser, ClusterChangeResponse.Parser);

    /// <summary>RemoveNode, as control.proto describes it.</summary>
    public static readonly GrpcMethod<RemoveNodeRequest, ClusterChangeResponse> RemoveNode =
        new(ControlPlane, "RemoveNode", RemoveNodeRequest.Parser, ClusterChangeResponse.Parser);

    /// <summary>TransferLeadership, as control.proto describes it.</summary>
    public static readonly GrpcMethod<TransferLeadershipRequest, ClusterChangeResponse> TransferLeadership =
        new(ControlPlane, "TransferLeadership", TransferLeadershipRequest.Parser, ClusterChangeResponse.Parser);

    /// <summary>WhoAmI, as control.proto describes it.</summary>
    public static readonly GrpcMethod<WhoAmIRequest, WhoAmIResponse> WhoAmI =
        new(ControlPlane, "WhoAmI", WhoAmIRequest.Parser, WhoAmIResponse.Parser);

    /// <summary>ListUsers, as control.proto describes it.</summary>
    public static readonly GrpcMethod<ListUsersRequest, ListUsersResponse> ListUsers =
        new(ControlPlane, "ListUsers", ListUsersRequest.Parser, ListUsersResponse.Parser);

    /// <summary>AddUser, as control.proto describes it.</summary>
    public static readonly GrpcMethod<AddUserRequest, UserResponse> AddUser =
        new(ControlPlane, "AddUser", AddUserRequest.Parser, UserResponse.Parser);

    /// <summary>RemoveUser, as control.proto describes it.</summary>
    public static readonly GrpcMethod<RemoveUserRequest, UserResponse> RemoveUser =
        new(ControlPlane, "RemoveUser", RemoveUserRequest.Parser, UserResponse.Parser);

    /// <summary>SetUserGrants, as control.proto describes it.</summary>
    public static readonly GrpcMethod<SetUserGrantsRequest, UserResponse> SetUserGrants =
        new(ControlPlane, "SetUserGrants", SetUserGrantsRequest.Parser, UserResponse.Parser);

    /// <summary>SetUserPassword, as control.proto describes it.</summary>
    public static readonly GrpcMethod<SetUserPasswordRequest, UserResponse> SetUserPassword =
        new(ControlPlane, "SetUserPassword", SetUserPasswordRequest.Parser, UserResponse.Parser);

    /// <summary>ChangeOwnPassword, as control.proto describes it.</summary>
    public static readonly GrpcMethod<ChangeOwnPasswordRequest, UserResponse> ChangeOwnPassword =
        new(ControlPlane, "ChangeOwnPassword", ChangeOwnPasswordRequest.Parser, UserResponse.Parser);

    /// <summary>SetUserCertificates, as control.proto describes it.</summary>
    public static readonly GrpcMethod<SetUserCertificatesRequest, UserResponse> SetUserCertificates =
        new(ControlPlane, "SetUserCertificates", SetUserCertificatesRequest.Parser, UserResponse.Parser);

    /// <summary>AddUserToken, as control.proto describes it.</summary>
    public static readonly GrpcMethod<AddUserTokenRequest, AddUserTokenResponse> AddUserToken =
        new(ControlPlane, "AddUserToken", AddUserTokenRequest.Parser, AddUserTokenResponse.Parser);

    /// <summary>RemoveUserToken, as control.proto describes it.</summary>
    public static readonly GrpcMethod<RemoveUserTokenRequest, UserResponse> RemoveUserToken =
        new(ControlPlane, "RemoveUserToken", RemoveUserTokenRequest.Parser, UserResponse.Parser);
}
