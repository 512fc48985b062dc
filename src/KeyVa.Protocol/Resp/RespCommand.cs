namespace KeyVa.Protocol.Resp;

/// <summary>
/// One command as it came: its arguments as places in a buffer that belongs to somebody else. Used again and again; one thread at a time.
/// </summary>
internal sealed class RespCommand
{
    private const int FewArguments = 8;
    private const int KeptArguments = 1024;

    private byte[] _buffer = [];
    private int _start;
    private (int Offset, int Length)[] _arguments = new (int, int)[FewArguments];

    /// <summary>Arguments, the command's name among them.</summary>
    public int Count { get; private set; }

    /// <summary>An argument; 0 is the command's name. Valid until the buffer is used for something else.</summary>
    public ReadOnlySpan<byte> this[int argument]
    {
        get
        {
            (int offset, int length) = _arguments[argument];
            return _buffer.AsSpan(_start + offset, length);
        }
    }

    /// <summary>As the indexer, as memory.</summary>
    public ReadOnlyMemory<byte> Memory(int argument)
    {
        (int offset, int length) = _arguments[argument];
        return _buffer.AsMemory(_start + offset, length);
    }

    /// <summary>A copy with a buffer of its own.</summary>
    public RespCommand Copy()
    {
        int bytes = 0;
        for (int i = 0; i < Count; i++)
        {
            bytes += _arguments[i].Length;
        }

        RespCommand copy = new() { _buffer = new byte[bytes], _arguments = new (int, int)[Count], Count = Count };
        int offset = 0;
        for (int i = 0; i < Count; i++)
        {
            ReadOnlySpan<byte> argument = this[i];
            argument.CopyTo(copy._buffer.AsSpan(offset));
            copy._arguments[i] = (offset, argument.Length);
            offset += argument.Length;
        }

        return copy;
    }

    /// <summary>The bytes of all arguments.</summary>
    public long Bytes
    {
        get
        {
            long bytes = 0;
            for (int i = 0; i < Count; i++)
            {
                bytes += _arguments[i].Length;
            }

            return bytes;
        }
    }

    /// <summary>Forgets the arguments, and gives back the memory that very many have taken.</summary>
    internal void Clear()
    {
        Count = 0;
        if (_arguments.Length > KeptArguments)
        {
            _arguments = new (int, int)[FewArguments];
        }
    }

    /// <summary>Adds an argument by its place behind the buffer's start that <see cref="Bind"/> gets.</summary>
    internal void Add(int offset, int length)
    {
        if (Count == _arguments.Length)
        {
            Array.Resize(ref _arguments, Count * 2);
        }

        _arguments[Count++] = (offset, length);
    }

    internal void Bind(byte[] buffer, int start)
    {
        _buffer = buffer;
        _start = start;
    }
}
