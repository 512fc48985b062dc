using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary><c>admin cluster status|add-node|remove-node|transfer</c>: the nodes of a cluster. Stateless.</summary>
internal static class ClusterCommands
{
    public static Command Create(Session session)
    {
        Command cluster = new("cluster", "The cluster that the server is a node of");
        cluster.Subcommands.Add(CommandTree.Command(session, "status", "Show the nodes and, as this node sees them, its replicas", [], StatusAsync));
        Argument<long> added = Node("The number that the new node was started with");
        Argument<string> peer = new("HOST:PORT") { Description = "Where it listens for the other nodes; behind a slash its public key" };
        cluster.Subcommands.Add(CommandTree.Command(
            session, "add-node", "Add a node that was started with --cluster-join to all partitions; ends when it votes in them", [added, peer],
            invocation => ChangeAsync(invocation, invocation.Get(added), "added", control => control.AddNodeAsync(invocation.Get(added), invocation.Get(peer), invocation.Cancellation))));
        Argument<long> removed = Node("The node's number, which must not be used again");
        cluster.Subcommands.Add(CommandTree.Command(
            session, "remove-node", "Remove a node from all partitions for good", [removed],
            invocation => ChangeAsync(invocation, invocation.Get(removed), "removed", control => control.RemoveNodeAsync(invocation.Get(removed), invocation.Cancellation))));
        Argument<long> leader = Node("The node that is to lead");
        Option<long?> partition = EngineCommands.Partition();
        cluster.Subcommands.Add(CommandTree.Command(
            session, "transfer", "Hand leadership of all partitions, or of one, to another node", [leader, partition],
            invocation => ChangeAsync(
                invocation, invocation.Get(leader), "leads: node", control => control.TransferLeadershipAsync(invocation.Get(leader), EngineCommands.PartitionOf(invocation, partition), invocation.Cancellation))));
        return cluster;
    }

    private static Argument<long> Node(string description) => new("NODE") { Description = description };

    private static async Task<int> ChangeAsync(Invocation invocation, long node, string done, Func<RemoteControl, ValueTask<ClusterChangeView>> change)
    {
        ClusterChangeView result = await change(invocation.Control);
        if (invocation.Json)
        {
            invocation.WriteJson(json => WriteProperties(json, node, result));
            return result.IsDone ? ExitCode.Done : ExitCode.Refused;
        }

        if (result.Partitions.Count > 1 || !result.IsDone)
        {
            foreach (PartitionChangeView one in result.Partitions)
            {
                string leads = one.Leader == 0 ? "" : $" (node {Text(one.Leader)} leads it)";
                invocation.Terminal.Out.WriteLine($"partition {Text(one.Partition)}: {(one.IsDone ? $"done{leads}" : $"not done: {one.Detail}")}");
            }
        }

        if (!result.IsDone)
        {
            int left = result.Partitions.Count(static one => !one.IsDone);
            throw CommandException.Refused(Status.Unavailable, string.Create(CultureInfo.InvariantCulture, $"not done in {left} of {result.Partitions.Count} partitions; the same command again goes on with those"));
        }

        invocation.Terminal.Out.WriteLine($"{done} {Text(node)}");
        return ExitCode.Done;
    }

    private static async Task<int> StatusAsync(Invocation invocation)
    {
        ClusterView view = await invocation.Control.ClusterStatusAsync(invocation.Cancellation);
        if (invocation.Json)
        {
            invocation.WriteJson(json => WriteProperties(json, view));
            return ExitCode.Done;
        }

        invocation.Terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"cluster '{view.Cluster}', as node {view.Node} sees it"));
        Table.Write(
            invocation.Terminal,
            [">NODE", "PEER", "REST", "GRPC", "CONTROL", "REDIS"],
            view.Nodes.Select(static node => (IReadOnlyList<string>)[Text(node.Node), node.Peer, Known(node.Rest), Known(node.Data), Known(node.Control), Known(node.Resp)]));
        Table.Write(
            invocation.Terminal,
            [">PARTITION", "ROLE", ">LEADER", ">TERM", ">LAST", ">COMMITTED", ">APPLIED", "LEASE", "VOTERS", "LEARNERS", "OTHERS HAVE"],
            view.Replicas.Select(static one => (IReadOnlyList<string>)
            [
                Text(one.Partition), one.Role, one.Leader == 0 ? "-" : Text(one.Leader), Text(one.Term), Text(one.LastIndex), Text(one.CommitIndex), Text(one.AppliedIndex), one.HasLease ? "yes" : "-",
                string.Join(' ', one.Voters), string.Join(' ', one.Learners), string.Join(' ', one.Progress.Select(static each => $"{each.Key}:{each.Value}")),
            ]));
        if (view.Replicas.Count == 0)
        {
            invocation.Terminal.Out.WriteLine($"it knows no partitions yet: 'keyva admin cluster add-node {Text(view.Node)} HOST:PORT', asked of a node of the cluster, adds it");
        }

        if (view.Failure.Length > 0)
        {
            invocation.Terminal.Out.WriteLine(view.Failure);
        }

        foreach (ReplicaView stopped in view.Replicas.Where(static one => one.Failure.Length > 0))
        {
            invocation.Terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"partition {stopped.Partition} has stopped: {stopped.Failure}"));
        }

        return ExitCode.Done;
    }

    private static void WriteProperties(Utf8JsonWriter json, long node, ClusterChangeView result)
    {
        json.WriteNumber("node"u8, node);
        json.WriteBoolean("done"u8, result.IsDone);
        json.WriteStartArray("partitions"u8);
        foreach (PartitionChangeView one in result.Partitions)
        {
            json.WriteStartObject();
            json.WriteNumber("partition"u8, one.Partition);
            json.WriteBoolean("done"u8, one.IsDone);
            json.WriteNumber("leader"u8, one.Leader);
            json.WriteString("detail"u8, one.Detail);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteProperties(Utf8JsonWriter json, ClusterView view)
    {
        json.WriteString("cluster"u8, view.Cluster);
        json.WriteNumber("node"u8, view.Node);
        json.WriteStartArray("nodes"u8);
        foreach (ClusterNodeView node in view.Nodes)
        {
            json.WriteStartObject();
            json.WriteNumber("node"u8, node.Node);
            json.WriteString("peer"u8, node.Peer);
            json.WriteString("rest"u8, node.Rest);
            json.WriteString("grpc"u8, node.Data);
            json.WriteString("control"u8, node.Control);
            json.WriteString("redis"u8, node.Resp);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("replicas"u8);
        foreach (ReplicaView one in view.Replicas)
        {
            json.WriteStartObject();
            json.WriteNumber("partition"u8, one.Partition);
            json.WriteString("role"u8, one.Role);
            json.WriteNumber("leader"u8, one.Leader);
            json.WriteNumber("term"u8, one.Term);
            json.WriteNumber("last_index"u8, one.LastIndex);
            json.WriteNumber("commit_index"u8, one.CommitIndex);
            json.WriteNumber("applied_index"u8, one.AppliedIndex);
            json.WriteBoolean("lease"u8, one.HasLease);
            WriteNumbers(json, "voters", one.Voters);
            WriteNumbers(json, "learners", one.Learners);
            json.WriteStartArray("progress"u8);
            foreach ((long node, long index) in one.Progress.OrderBy(static each => each.Key))
            {
                json.WriteStartObject();
                json.WriteNumber("node"u8, node);
                json.WriteNumber("index"u8, index);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteString("failure"u8, one.Failure);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteString("failure"u8, view.Failure);
    }

    private static void WriteNumbers(Utf8JsonWriter json, string name, IReadOnlyList<long> numbers)
    {
        json.WriteStartArray(name);
        foreach (long number in numbers)
        {
            json.WriteNumberValue(number);
        }

        json.WriteEndArray();
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static string Known(string address) => address.Length == 0 ? "-" : address;
}
