using System.Buffers.Binary;
using KeyVa.Cluster.Driver;
using KeyVa.Histories;
using KeyVa.Merges;
using KeyVa.Partitions;

namespace KeyVa.Simulation.Cluster;

/// <summary>A client: one operation on a register at a time, at a node of its choice, recorded.</summary>
internal sealed class ClusterClient(ClusterSimulation world, RegisterWorkload workload, RegisterLog log, int number) : INodeCaller
{
    private const int MaxCounterBytes = 100;

    private RegisterRequest _request;
    private SimulatedNode? _node;
    private long _operation;

    public int Answered { get; private set; }

    public int AnsweredWrites { get; private set; }

    /// <summary>Where plain writes are counted.</summary>
    public static byte[] Counter { get; } = [(byte)'n'];

    /// <summary>The same in another partition, if there are several.</summary>
    public static byte[] OtherCounter { get; } = [(byte)'c'];

    /// <summary>Plain writes that were acknowledged, and those of which nobody knows.</summary>
    public int Counted { get; private set; }

    public int Uncertain { get; private set; }

    /// <summary>Whether a plain write was not answered yet.</summary>
    public bool MayBeWriting => _node is not null && _request.Action == RegisterAction.Write;

    public bool IsStopped { get; set; }

    public void Begin() => world.Events.After(1 + world.Random.Next(40), Next);

    /// <summary>The node that has the operation is gone.</summary>
    public void NodeDied()
    {
        _node = null;
        End(_request.Action == RegisterAction.Read ? RegisterReply.Fail : RegisterReply.Unknown);
    }

    private void Next()
    {
        if (IsStopped)
        {
            return;
        }

        if (!world.IsHealed && world.Plan.IsLull(world.Events.Now))
        {
            Begin();
            return;
        }

        SimulatedNode node = world.AnyNode();
        if (!node.IsUp || node.IsDoomed)
        {
            Begin();
            return;
        }

        _request = workload.Next();
        Record();
        world.Trace.Note(TracedEvent.Ask, number, node.Id, (long)_request.Action);
        _node = node;
        node.Await(this);
        long operation = ++_operation;
        node.Run(() => Act(node, operation), Input.Call);
    }

    private void Act(SimulatedNode node, long operation)
    {
        // With several partitions every other register lies in the last of them, and its counter in the first.
        bool isLast = world.Checkers.Count > 1 && _request.Key % 2 == 1;
        byte[] key = [(byte)(isLast ? 'z' : 'k'), (byte)_request.Key];
        if (_request.Action == RegisterAction.Read)
        {
            world.LeasedReads += node.ReplicaOf(isLast ? world.Checkers.Count : 1).Group.HasLease(node.Time.Now) ? 1 : 0;
            node.Driver!.Read(isLast ? world.Checkers.Count : 1, new Waiter(status => Read(node, operation, key, status)), lendsThread: false);
            return;
        }

        var command = new CommandBuilder();
        switch (_request.Action)
        {
            case RegisterAction.Write:
                // Beside each write a number is counted up: what is done twice, or half, shows at the end.
                command.Put(key, Bytes(_request.Value!.Value), default);
                command.Merge(isLast ? OtherCounter : Counter, MergeFunction.Increment, "1"u8, default);
                command.AdmitMerges(MaxCounterBytes, MergeRegistry.OfBuiltIn, out _, out _);
                break;
            case RegisterAction.CompareAndSet when _request.Value is { } value:
                command.Put(key, Bytes(value), new WriteOptions { Condition = Expected() });
                break;
            case RegisterAction.CompareAndSet:
                command.Remove(key, Expected(), blind: false);
                break;
            default:
                command.Remove(key, default, blind: false);
                break;
        }

        if (world.Checkers.Count > 1 && _request.Action == RegisterAction.Write)
        {
            node.Commit(command, result => Wrote(node, operation, result));
            return;
        }

        node.Submit(new Request(command, result => Wrote(node, operation, result)), isLast ? world.Checkers.Count : 1);
    }

    private Condition Expected() => _request.Expected is { } expected ? Condition.IfValue(Bytes(expected)) : Condition.IfAbsent;

    private void Record()
    {
        switch (_request.Action)
        {
            case RegisterAction.Read:
                log.BeginRead(_request.Key);
                break;
            case RegisterAction.Write:
                log.BeginWrite(_request.Key, _request.Value!.Value);
                break;
            case RegisterAction.CompareAndSet:
                log.BeginCompareAndSet(_request.Key, _request.Expected, _request.Value);
                break;
            default:
                log.BeginRemove(_request.Key);
                break;
        }
    }

    private void Read(SimulatedNode node, long operation, byte[] key, Status status)
    {
        if (!IsCurrent(node, operation))
        {
            return;
        }

        RegisterReply reply = RegisterReply.Fail;
        if (status == Status.Ok)
        {
            try
            {
                using ValueLease lease = node.Store.Get(key);
                reply = new RegisterReply(Outcome.Ok, lease.Found ? BinaryPrimitives.ReadInt32LittleEndian(lease.Value) : null);
            }
            catch (StoreException) when (node.MayFail)
            {
                // The disk could not be read, or not what stands there.
            }
        }

        node.Leave(this);
        End(reply);
    }

    private void Wrote(SimulatedNode node, long operation, WriteResult result)
    {
        if (!IsCurrent(node, operation))
        {
            return;
        }

        node.Leave(this);
        bool isHeld = _request.Action is RegisterAction.CompareAndSet or RegisterAction.Remove;
        RegisterReply reply = result.Status switch
        {
            Status.Ok => new RegisterReply(Outcome.Ok, Held: isHeld ? true : null),
            Status.ConditionFailed or Status.NotFound => new RegisterReply(Outcome.Ok, Held: false),
            Status.Unavailable or Status.Busy or Status.Full => RegisterReply.Fail,
            _ => RegisterReply.Unknown,
        };
        AnsweredWrites += reply.Outcome == Outcome.Ok ? 1 : 0;
        End(reply);
    }

    private bool IsCurrent(SimulatedNode node, long operation) => _operation == operation && _node == node && !node.IsDoomed;

    private void End(in RegisterReply reply)
    {
        _operation++;
        _node = null;
        log.End(reply);
        world.Trace.Note(TracedEvent.Answer, number, (long)reply.Outcome, reply.Value ?? -1);
        workload.Learn(_request, reply);
        Answered += reply.Outcome == Outcome.Ok ? 1 : 0;
        if (_request.Action == RegisterAction.Write)
        {
            Counted += reply.Outcome == Outcome.Ok ? 1 : 0;
            Uncertain += reply.Outcome == Outcome.Unknown ? 1 : 0;
        }

        Begin();
    }

    private byte[] Bytes(int value)
    {
        byte[] bytes = new byte[world.Plan.ValueBytes];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        return bytes;
    }

    private sealed class Waiter(Action<Status> done) : IReadWaiter
    {
        public void Complete(Status status) => done(status);
    }

    private sealed class Request : WriteRequest
    {
        private readonly Action<WriteResult> _done;

        public Request(CommandBuilder command, Action<WriteResult> done)
        {
            Command = command;
            _done = done;
        }

        public override void Complete()
        {
            WriteResult result = Result;
            _done(result);
        }
    }
}
