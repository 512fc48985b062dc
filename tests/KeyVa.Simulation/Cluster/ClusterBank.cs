using System.Globalization;
using KeyVa.Cluster.Driver;
using KeyVa.Partitions;
using KeyVa.Simulation.Raft;

namespace KeyVa.Simulation.Cluster;

/// <summary>
/// A client that writes over several partitions, and looks whether what it reads there can have been written so: money goes from account to account, under the condition that
/// both are as they were read, and no snapshot of all accounts has lost or gained any; two numbers are counted up together, and who has read the one finds the other no smaller.
/// </summary>
internal sealed class ClusterBank(ClusterSimulation world, Random random) : INodeCaller
{
    private static readonly byte[][] Accounts = [[(byte)'b'], [(byte)'p'], [(byte)'y']];
    private static readonly byte[][] Pair = ["bx"u8.ToArray(), "yx"u8.ToArray()];

    private SimulatedNode? _node;
    private long _operation;
    private Snapshot? _snapshot;
    private int _installed;
    private int _kind;
    private string? _last;

    // Called when an operation ends: of one whose outcome is not known, that it is not.
    private Action? _pending;

    /// <summary>Where the keys are split, if the store has several partitions.</summary>
    public static ReadOnlyMemory<byte>[] SplitAt { get; } = ["m"u8.ToArray(), "t"u8.ToArray()];

    /// <summary>Commits over several partitions that were acknowledged.</summary>
    public int Committed { get; private set; }

    /// <summary>Of those, and of those of which nobody knows, the ones that counted the pair up.</summary>
    public int Counted { get; private set; }

    public int Uncertain { get; private set; }

    /// <summary>Whether one of these was not answered yet.</summary>
    public bool MayBeCounting => _pending is not null;

    public int SnapshotReads { get; private set; }

    public bool IsStopped { get; set; }

    /// <summary>What it waits for, for whom a run fails.</summary>
    public string State => $"operation {_operation} of kind {_kind} at {_node?.Id}, {Committed} commits, last answer {_last}";

    private long Last => world.Checkers.Count;

    public void Begin() => world.Events.After(1 + random.Next(60), Next);

    public void NodeDied()
    {
        _node = null;
        End();
    }

    /// <summary>Where the pair stands on a node; null if it cannot be read.</summary>
    public static long? TryPair(SimulatedNode node) => node.TryCount(Pair[0]) is { } one && node.TryCount(Pair[1]) is { } other
        ? one == other ? one : throw new SafetyViolationException($"all or nothing: the numbers that are counted up together are {one} and {other} on node {node.Id}")
        : null;

    private void Next()
    {
        if (IsStopped)
        {
            return;
        }

        if (world.AnyNode() is not { IsUp: true, IsDoomed: false } node)
        {
            Begin();
            return;
        }

        int what = _kind = random.Next(4);
        Go(node, operation =>
        {
            switch (what)
            {
                case 0:
                    Count(node, operation);
                    break;
                case 1:
                    Follow(node, operation, first: random.Next(2));
                    break;
                default:
                    Look(node, operation, moves: what == 2);
                    break;
            }
        });
    }

    private void Go(SimulatedNode node, Action<long> act)
    {
        if (!node.IsUp || node.IsDoomed)
        {
            End();
            return;
        }

        _node = node;
        node.Await(this);
        long operation = ++_operation;
        node.Run(() =>
        {
            if (IsCurrent(node, operation))
            {
                act(operation);
            }
        });
    }

    /// <summary>Counts both numbers up.</summary>
    private void Count(SimulatedNode node, long operation)
    {
        if (node.TryCount(Pair[0]) is not { } number)
        {
            End();
            return;
        }

        var command = new CommandBuilder();
        Condition asRead = number == 0 ? Condition.IfAbsent : Condition.IfValue(Bytes(number));
        foreach (byte[] key in Pair)
        {
            command.Put(key, Bytes(number + 1), new WriteOptions { Condition = asRead });
        }

        Commit(node, operation, command, isCount: true);
    }

    /// <summary>Reads one number, then the other, somewhere else perhaps.</summary>
    private void Follow(SimulatedNode node, long operation, int first) => Read(node, operation, first, one =>
    {
        node.Leave(this);
        SimulatedNode other = world.AnyNode();
        if (!other.IsUp || other.IsDoomed)
        {
            End();
            return;
        }

        // In a turn of its own: what was read first has been told.
        world.Events.After(0, () => Go(other, next => Read(other, next, 1 - first, two =>
        {
            if (two < one)
            {
                throw new SafetyViolationException($"commits are seen whole: {one} was read in partition {(first == 0 ? 1 : Last)} on node {node.Id}, then {two} in the other on node {other.Id}");
            }

            End();
        })));
    });

    private void Read(SimulatedNode node, long operation, int which, Action<long> read) => node.Driver!.Read(which == 0 ? 1 : Last, lendsThread: false, waiter: new Waiter(status =>
    {
        if (!IsCurrent(node, operation))
        {
            return;
        }

        if (status == Status.Ok && node.TryCount(Pair[which]) is { } number)
        {
            read(number);
        }
        else
        {
            End();
        }
    }));

    /// <summary>Reads all accounts at one snapshot, and moves money between two of them perhaps.</summary>
    private void Look(SimulatedNode node, long operation, bool moves)
    {
        _installed = node.Installed;
        _snapshot = node.PartitionOf(1).Engine.Context.Snapshots.Open(node.Snapshots);
        Reach(node, operation, 1, moves);
    }

    private void Reach(SimulatedNode node, long operation, long partition, bool moves)
    {
        if (partition > Last)
        {
            Look(node, operation, _snapshot!.Version, moves);
            return;
        }

        node.Driver!.Commits.Reach(partition, _snapshot!.Version, result =>
        {
            if (!IsCurrent(node, operation))
            {
                return;
            }

            if (result.IsOk)
            {
                Reach(node, operation, partition + 1, moves);
            }
            else
            {
                End();
            }
        });
    }

    private void Look(SimulatedNode node, long operation, long version, bool moves)
    {
        // A copy of a partition that has arrived meanwhile has nothing of before it.
        if (node.Installed != _installed || TryRead(node, version) is not { } read)
        {
            End();
            return;
        }

        SnapshotReads++;
        if (read.Sum(static account => account.Balance) != 0)
        {
            throw new SafetyViolationException($"snapshots see all or nothing: at version {version} on node {node.Id}, {string.Join(", ", read.Select(static account => $"{account.Balance}@{account.Version}"))} are no sum of 0");
        }

        if (!moves)
        {
            End();
            return;
        }

        int from = random.Next(Accounts.Length);
        int to = from == 0 ? 1 + random.Next(2) : 0;
        var command = new CommandBuilder();
        Move(command, from, -1);
        Move(command, to, 1);
        Commit(node, operation, command, isCount: false);

        void Move(CommandBuilder into, int account, int amount) => into.Put(
            Accounts[account],
            Bytes(read[account].Balance + amount),
            new WriteOptions { Condition = read[account].Version == 0 ? Condition.IfAbsent : Condition.IfVersion(read[account].Version) });
    }

    private static (long Balance, long Version)[]? TryRead(SimulatedNode node, long version)
    {
        try
        {
            return [.. Accounts.Select(key =>
            {
                Partition owner = ((PartitionRegistry)node.Store.Partitions).Map.Find(key)!;
                bool found = owner.Engine.TryGet(key, version, out ValueLease lease);
                using (lease)
                {
                    return found ? (long.Parse(lease.Value, CultureInfo.InvariantCulture), lease.Version) : (0, 0);
                }
            })];
        }
        catch (StoreException) when (node.MayFail)
        {
            return null;
        }
    }

    private void Commit(SimulatedNode node, long operation, CommandBuilder command, bool isCount)
    {
        bool isAnswered = false;
        _pending = isCount ? () => Uncertain += isAnswered ? 0 : 1 : null;
        node.Commit(command, result =>
        {
            if (!IsCurrent(node, operation))
            {
                return;
            }

            isAnswered = result.Status != Status.Unknown;
            _last = $"{result.Status} {result.Detail}";
            Committed += result.IsOk ? 1 : 0;
            Counted += result.IsOk && isCount ? 1 : 0;
            End();
        });
    }

    private bool IsCurrent(SimulatedNode node, long operation) => _operation == operation && _node == node && !node.IsDoomed;

    private void End()
    {
        _operation++;
        _node?.Leave(this);
        _node = null;
        _snapshot?.Dispose();
        _snapshot = null;
        _pending?.Invoke();
        _pending = null;
        Begin();
    }

    private static byte[] Bytes(long number) => System.Text.Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture));

    private sealed class Waiter(Action<Status> done) : IReadWaiter
    {
        public void Complete(Status status) => done(status);
    }
}
