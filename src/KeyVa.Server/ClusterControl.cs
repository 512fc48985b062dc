using KeyVa.Cluster;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The part of the gRPC control plane that is about the cluster. Thread-safe.</summary>
internal sealed class ClusterControl(Node node, GrpcGuard guard)
{
    /// <summary>Adds the methods to the control plane.</summary>
    public GrpcService AddTo(GrpcService service) => service
        .Unary(Methods.ClusterStatus, guard.Unary<ClusterStatusRequest, ClusterStatusResponse>(Operation.Other, StatusAsync))
        .Unary(Methods.AddNode, guard.Unary<AddNodeRequest, ClusterChangeResponse>(Operation.Other, AddAsync))
        .Unary(Methods.RemoveNode, guard.Unary<RemoveNodeRequest, ClusterChangeResponse>(Operation.Other, (request, call) => ChangeAsync(call, cluster => cluster.RemoveNodeAsync(request.Node, call.CancellationToken))))
        .Unary(Methods.TransferLeadership, guard.Unary<TransferLeadershipRequest, ClusterChangeResponse>(Operation.Other, TransferAsync));

    private static GrpcStatus Alone(GrpcCallContext call) =>
        GrpcRefusal.Of(call, Status.Unsupported, "this server is no node of a cluster: start it with --cluster, --node and --peers");

    private async ValueTask<GrpcResult<ClusterStatusResponse>> StatusAsync(ClusterStatusRequest request, GrpcCallContext call)
    {
        if (node.Cluster is not { } cluster)
        {
            return Alone(call);
        }

        ClusterStatusResponse response = new() { Cluster = cluster.ClusterName, Node = cluster.Id, Failure = cluster.LayoutFailure ?? "" };
        foreach (long one in cluster.KnownNodes())
        {
            AddressBook.Entry? entry = cluster.AddressesOf(one);
            response.Nodes.Add(new ClusterMember
            {
                Node = one,
                Peer = entry?.Peer.ToString() ?? "",
                Rest = entry?.Rest ?? "",
                Data = entry?.Data ?? "",
                Control = entry?.Control ?? "",
                Resp = entry?.Resp ?? "",
            });
        }

        foreach (ReplicaStatus replica in await cluster.GetStatusAsync(asksLeaders: true, call.CancellationToken))
        {
            ClusterReplica message = new()
            {
                Partition = replica.Partition,
                Role = replica.Role,
                Leader = replica.Leader,
                Term = replica.Term,
                LastIndex = replica.LastIndex,
                CommitIndex = replica.CommitIndex,
                AppliedIndex = replica.AppliedIndex,
                Failure = replica.Failure ?? "",
                Lease = replica.HasLease,
            };
            message.Voters.AddRange(replica.Voters);
            message.Learners.AddRange(replica.Learners);
            message.Progress.AddRange(replica.Progress.OrderBy(static one => one.Key).Select(static one => new ClusterProgress { Node = one.Key, Index = one.Value }));
            response.Replicas.Add(message);
        }

        return response;
    }

    private ValueTask<GrpcResult<ClusterChangeResponse>> AddAsync(AddNodeRequest request, GrpcCallContext call) =>
        request.Node < 1 || !ClusterPeer.TryParse(request.Peer, out ClusterPeer? peer)
            ? new(GrpcRefusal.Malformed(call, "node is a number from 1 on, and peer is HOST:PORT, or HOST:PORT/KEY"))
            : ChangeAsync(call, cluster => cluster.AddNodeAsync(request.Node, peer!, call.CancellationToken));

    private ValueTask<GrpcResult<ClusterChangeResponse>> TransferAsync(TransferLeadershipRequest request, GrpcCallContext call) => ChangeAsync(
        call,
        cluster => request.Partition == 0 ? cluster.TransferAsync(request.Node, call.CancellationToken) : cluster.TransferAsync(request.Partition, request.Node, call.CancellationToken));

    private async ValueTask<GrpcResult<ClusterChangeResponse>> ChangeAsync(GrpcCallContext call, Func<ClusterNode, Task<ClusterChange>> change)
    {
        if (node.Cluster is not { } cluster)
        {
            return Alone(call);
        }

        ClusterChange result = await change(cluster);
        if (result.Status != Status.Ok && result.Partitions.Count == 0)
        {
            return GrpcRefusal.Of(call, result.Status, result.Detail);
        }

        ClusterChangeResponse response = new() { Leader = result.Leader, Refused = result.Status != Status.Ok, Detail = result.Detail ?? "" };
        response.Partitions.AddRange(result.Partitions.Select(static one => new Protocol.V1.PartitionChange
        {
            Partition = one.Partition,
            Status = StatusNames.Wire(one.Status),
            Leader = one.Leader,
            Detail = one.Detail ?? "",
        }));
        return response;
    }
}
