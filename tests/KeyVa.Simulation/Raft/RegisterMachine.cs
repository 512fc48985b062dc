using System.Buffers.Binary;
using KeyVa.Histories;
using KeyVa.Raft;

namespace KeyVa.Simulation.Raft;

/// <summary>One client's command: the operation, and its place in the client's session.</summary>
internal readonly record struct RegisterCommand(RegisterRequest Request, long Client, long Sequence)
{
    /// <summary>The key of a command that opens a session.</summary>
    public const int OpensSession = -1;

    private const int Bytes = 42;

    public byte[] Encode()
    {
        byte[] bytes = new byte[Bytes];
        bytes[0] = (byte)Request.Action;
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(1), Client);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(9), Sequence);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(17), Request.Key);
        bytes[21] = Request.Expected is null ? (byte)0 : (byte)1;
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(22), Request.Expected ?? 0);
        bytes[26] = Request.Value is null ? (byte)0 : (byte)1;
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(27), Request.Value ?? 0);
        return bytes;
    }

    public static RegisterCommand Decode(ReadOnlySpan<byte> bytes) => new(
        new RegisterRequest(
            (RegisterAction)bytes[0],
            BinaryPrimitives.ReadInt32LittleEndian(bytes[17..]),
            bytes[21] == 0 ? null : BinaryPrimitives.ReadInt32LittleEndian(bytes[22..]),
            bytes[26] == 0 ? null : BinaryPrimitives.ReadInt32LittleEndian(bytes[27..])),
        BinaryPrimitives.ReadInt64LittleEndian(bytes[1..]),
        BinaryPrimitives.ReadInt64LittleEndian(bytes[9..]));
}

/// <summary>What became of a command when it was applied.</summary>
internal readonly record struct RegisterResult(bool HasSession, bool? Held);

/// <summary>A few registers and the sessions of their clients: a state machine whose commands must be applied once, in one order.</summary>
internal sealed class RegisterMachine
{
    /// <summary>Few, so that sessions are dropped now and then.</summary>
    private const int MaxSessions = 8;

    private readonly SortedDictionary<int, int> _registers = [];
    private readonly SessionTable _sessions = new(MaxSessions, 2);

    public static byte[] EmptyState { get; } = new RegisterMachine().Encode();

    public int? Read(int key) => _registers.TryGetValue(key, out int value) ? value : null;

    public RegisterResult Apply(in RegisterCommand command)
    {
        if (command.Request.Key == RegisterCommand.OpensSession)
        {
            _sessions.Open(command.Client);
            return new RegisterResult(true, null);
        }

        switch (_sessions.Look(command.Client, command.Sequence, command.Sequence - 1, out ReadOnlyMemory<byte> kept))
        {
            case SessionVerdict.Repeat:
                return new RegisterResult(true, kept.Span[0] != 0);
            case SessionVerdict.Apply:
                bool held = Change(command.Request);
                _sessions.Record(command.Client, command.Sequence, new byte[] { held ? (byte)1 : (byte)0 });
                return new RegisterResult(true, held);
            default:
                return new RegisterResult(false, null);
        }
    }

    public byte[] Encode()
    {
        byte[] sessions = SessionEncoding.Encode(_sessions);
        byte[] bytes = new byte[4 + (_registers.Count * 8) + sessions.Length];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, _registers.Count);
        int at = 4;
        foreach ((int key, int value) in _registers)
        {
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(at), key);
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(at + 4), value);
            at += 8;
        }

        sessions.CopyTo(bytes, at);
        return bytes;
    }

    public static RegisterMachine Decode(ReadOnlySpan<byte> bytes)
    {
        RegisterMachine machine = new();
        int at = 4;
        for (int left = BinaryPrimitives.ReadInt32LittleEndian(bytes); left > 0; left--, at += 8)
        {
            machine._registers.Add(BinaryPrimitives.ReadInt32LittleEndian(bytes[at..]), BinaryPrimitives.ReadInt32LittleEndian(bytes[(at + 4)..]));
        }

        return SessionEncoding.TryDecode(bytes[at..], machine._sessions) ? machine : throw new InvalidDataException("a state that cannot be read");
    }

    private bool Change(in RegisterRequest request)
    {
        int? present = Read(request.Key);
        bool holds = request.Action switch
        {
            RegisterAction.CompareAndSet => present == request.Expected,
            RegisterAction.Remove => present is not null,
            _ => true,
        };
        if (holds)
        {
            if (request.Value is { } value)
            {
                _registers[request.Key] = value;
            }
            else
            {
                _registers.Remove(request.Key);
            }
        }

        return holds;
    }
}
