using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The methods of data.proto and control.proto.</summary>
internal static class GrpcMethods
{
    internal const string DataPlane = "keyva.v1.DataPlane";
    internal const string ControlPlane = "keyva.v1.ControlPlane";

    internal static readonly GrpcMethod<UpsertRequest, WriteResponse> Upsert =
        new(DataPlane, "Upsert", UpsertRequest.Parser, WriteResponse.Parser);

    internal static readonly GrpcMethod<GetRequest, GetResponse> Get =
        new(DataPlane, "Get", GetRequest.Parser, GetResponse.Parser);

    internal static readonly GrpcMethod<RemoveRequest, WriteResponse> Remove =
        new(DataPlane, "Remove", RemoveRequest.Parser, WriteResponse.Parser);

    internal static readonly GrpcMethod<WriteRequest, WriteResponse> Write =
        new(DataPlane, "Write", WriteRequest.Parser, WriteResponse.Parser);

    internal static readonly GrpcMethod<ScanRequest, ScanResponse> Scan =
        new(DataPlane, "Scan", ScanRequest.Parser, ScanResponse.Parser);

    internal static readonly GrpcMethod<BulkUpsertRequest, BulkUpsertResponse> BulkUpsert =
        new(DataPlane, "BulkUpsert", BulkUpsertRequest.Parser, BulkUpsertResponse.Parser);

    internal static readonly GrpcMethod<AddPartitionRequest, AddPartitionResponse> AddPartition =
        new(ControlPlane, "AddPartition", AddPartitionRequest.Parser, AddPartitionResponse.Parser);

    internal static readonly GrpcMethod<RemovePartitionRequest, RemovePartitionResponse> RemovePartition =
        new(ControlPlane, "RemovePartition", RemovePartitionRequest.Parser, RemovePartitionResponse.Parser);

    internal static readonly GrpcMethod<ListPartitionsRequest, ListPartitionsResponse> ListPartitions =
        new(ControlPlane, "ListPartitions", ListPartitionsRequest.Parser, ListPartitionsResponse.Parser);

    internal static readonly GrpcMethod<SnapshotRequest, SnapshotProgress> Snapshot =
        new(ControlPlane, "Snapshot", SnapshotRequest.Parser, SnapshotProgress.Parser);

    internal static readonly GrpcMethod<StatsRequest, StatsResponse> Stats =
        new(ControlPlane, "Stats", StatsRequest.Parser, StatsResponse.Parser);
}
