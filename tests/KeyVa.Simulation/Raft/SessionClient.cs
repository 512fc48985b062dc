using KeyVa.Histories;
using KeyVa.Raft;

namespace KeyVa.Simulation.Raft;

/// <summary>
/// A client with a session: one operation at a time, sent to a node that it takes for the leader, and again, under the same
/// number, wherever it is told or guesses, until there is an answer or it gives up. So an operation may be proposed several times, and must
/// happen once.
/// </summary>
internal sealed class SessionClient(RaftSimulation world, RegisterWorkload workload, RegisterLog log)
{
    private const int ManyAttempts = 60;
    private const int FewAttempts = 2;
    private const int AttemptTimeout = 120;

    private RegisterRequest _request;
    private long _session;
    private long _sequence;
    private long _operation;
    private long _leader;
    private int _attempts;
    private int _mostAttempts;
    private bool _maybeDone;
    private bool _isOpening;

    /// <summary>Operations that were answered.</summary>
    public int Answered { get; private set; }

    public int AnsweredWrites { get; private set; }

    public bool IsStopped { get; set; }

    public void Begin() => world.Events.After(world.Random.Next(world.Plan.Rest), Next);

    private void Next()
    {
        if (IsStopped)
        {
            return;
        }

        _operation++;
        _attempts = 0;
        _mostAttempts = world.Random.Next(16) == 0 ? FewAttempts : ManyAttempts;
        _maybeDone = false;
        _isOpening = _session == 0;
        if (_isOpening)
        {
            _session = world.NextContext();
            _sequence = 0;
        }
        else
        {
            _request = workload.Next();
            _sequence++;
            Record();
        }

        Attempt();
    }

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

    private void Attempt()
    {
        long operation = _operation;
        int attempt = ++_attempts;
        RaftNode node = world.Node(_leader != NodeId.None && world.Random.Next(4) != 0 ? _leader : world.RandomNode());
        world.Events.After(1 + world.Random.Next(3), () =>
        {
            if (!_isOpening && _request.Action == RegisterAction.Read)
            {
                node.Read(_request.Key, (refusal, value) => OnRead(operation, attempt, refusal, value), (_, leader) => OnRefused(operation, attempt, leader));
            }
            else
            {
                _maybeDone = true;
                RegisterRequest request = _isOpening ? new RegisterRequest(RegisterAction.Write, RegisterCommand.OpensSession, null, null) : _request;
                byte[] command = new RegisterCommand(request, _session, _sequence).Encode();
                node.Propose(command, result => OnApplied(operation, attempt, result), (_, leader) => OnRefused(operation, attempt, leader));
            }
        });
        world.Events.After(AttemptTimeout, () => Again(operation, attempt, NodeId.None));
    }

    private void OnRead(long operation, int attempt, Refusal refusal, int? value)
    {
        if (refusal != Refusal.None)
        {
            world.Events.After(1, () => Again(operation, attempt, NodeId.None));
        }
        else if (operation == _operation)
        {
            End(new RegisterReply(Outcome.Ok, value));
        }
    }

    private void OnApplied(long operation, int attempt, RegisterResult? result)
    {
        if (operation != _operation)
        {
            return;
        }

        if (result is not { } applied)
        {
            // Another's entry stands where this was: it is in no log that counts.
            world.Events.After(1, () => Again(operation, attempt, NodeId.None));
        }
        else if (_isOpening)
        {
            _operation++;
            Begin();
        }
        else if (!applied.HasSession)
        {
            _session = 0;
            End(RegisterReply.Unknown);
        }
        else
        {
            AnsweredWrites++;
            bool isHeld = _request.Action is RegisterAction.CompareAndSet or RegisterAction.Remove;
            End(new RegisterReply(Outcome.Ok, Held: isHeld ? applied.Held : null));
        }
    }

    private void OnRefused(long operation, int attempt, long leader)
    {
        if (operation == _operation)
        {
            _leader = leader;
            world.Events.After(5 + world.Random.Next(10), () => Again(operation, attempt, leader));
        }
    }

    private void Again(long operation, int attempt, long leader)
    {
        if (operation != _operation || attempt != _attempts)
        {
            return;
        }

        _leader = leader;
        if (_attempts < _mostAttempts)
        {
            Attempt();
        }
        else if (_isOpening)
        {
            _session = 0;
            _operation++;
            Begin();
        }
        else
        {
            End(_maybeDone ? RegisterReply.Unknown : RegisterReply.Fail);
        }
    }

    private void End(in RegisterReply reply)
    {
        _operation++;
        log.End(reply);
        workload.Learn(_request, reply);
        Answered += reply.Outcome == Outcome.Ok ? 1 : 0;
        Begin();
    }
}
