using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>The methods of data.proto and control.proto that the client calls.</summary>
internal static class Methods
{
    private const string Data = "keyva.v1.DataPlane";
    private const string Control = "keyva.v1.ControlPlane";

    public static readonly GrpcMethod<UpsertRequest, WriteResponse> Upsert = new(Data, "Upsert", UpsertRequest.Parser, WriteResponse.Parser);

    public static readonly GrpcMethod<GetRequest, GetResponse> Get = new(Data, "Get", GetRequest.Parser, GetResponse.Parser);

    public static readonly GrpcMethod<RemoveRequest, WriteResponse> Remove = new(Data, "Remove", RemoveRequest.Parser, WriteResponse.Parser);

    public static readonly GrpcMethod<WriteRequest, WriteResponse> Write = new(Data, "Write", WriteRequest.Parser, WriteResponse.Parser);

    public static readonly GrpcMethod<ScanRequest, ScanResponse> Scan = new(Data, "Scan", ScanRequest.Parser, ScanResponse.Parser);

    public static readonly GrpcMethod<BulkUpsertRequest, BulkUpsertResponse> BulkUpsert =
        new(Data, "BulkUpsert", BulkUpsertRequest.Parser, BulkUpsertResponse.Parser);

    public static readonly GrpcMethod<AddPartitionRequest, AddPartitionResponse> AddPartition =
        new(Control, "AddPartition", AddPartitionRequest.Parser, AddPartitionResponse.Parser);

    public static readonly GrpcMethod<RemovePartitionRequest, RemovePartitionResponse> RemovePartition =
        new(Control, "RemovePartition", RemovePartitionRequest.Parser, RemovePartitionResponse.Parser);

    public static readonly GrpcMethod<ListPartitionsRequest, ListPartitionsResponse> ListPartitions =
        new(Control, "ListPartitions", ListPartitionsRequest.Parser, ListPartitionsResponse.Parser);

    public static readonly GrpcMethod<SnapshotRequest, SnapshotProgress> Snapshot =
        new(Control, "Snapshot", SnapshotRequest.Parser, SnapshotProgress.Parser);

    public static readonly GrpcMethod<StatsRequest, StatsResponse> Stats =
        new(Control, "Stats", StatsRequest.Parser, StatsResponse.Parser);
}
