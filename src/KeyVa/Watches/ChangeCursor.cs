namespace KeyVa.Watches;

/// <summary>
/// Reads a <see cref="ChangeLog"/> forward while it is written. One thread at a time. Pins a chunk from <see cref="Open"/> to
/// <see cref="Close"/>.
/// </summary>
internal sealed unsafe class ChangeCursor(ChangeLog log)
{
    private ChangeChunk? _chunk;
    private int _offset;
    private long _position;

    public ChangeLog Log { get; } = log;

    /// <summary>The change that <see cref="Peek"/> found.</summary>
    public ChangeRecord Current => new((ChangeHeader*)(_chunk!.Data + _offset));

    /// <summary>Whether changes that come next are gone.</summary>
    public bool IsLost { get; private set; }

    /// <summary>Stands before the first change above a version.</summary>
    public void Open(long after)
    {
        Close();
        _position = after;
        IsLost = !Log.Memory.TryPin(Log, after, out _chunk);
        _offset = 0;
    }

    public void Close()
    {
        if (_chunk is not null)
        {
            Log.Memory.Release(_chunk);
            _chunk = null;
        }
    }

    /// <summary>The version of the next change, if it is at most <paramref name="cap"/>; else, or if it is lost, the largest number.</summary>
    public long Peek(long cap)
    {
        while (!IsLost)
        {
            if (_chunk is null)
            {
                Open(_position);
                if (_chunk is null)
                {
                    break;
                }
            }

            if (_offset < _chunk.Length)
            {
                ChangeHeader* header = (ChangeHeader*)(_chunk.Data + _offset);
                long version = header->Version;
                if (version > _position)
                {
                    return version <= cap ? version : long.MaxValue;
                }

                _offset += header->Bytes;
            }
            else if (!Move())
            {
                break;
            }
        }

        return long.MaxValue;
    }

    /// <summary>Goes behind the current change.</summary>
    public void Advance() => _offset += ((ChangeHeader*)(_chunk!.Data + _offset))->Bytes;

    private bool Move()
    {
        if (!_chunk!.IsSealed)
        {
            return false;
        }

        if (_offset < _chunk.Length)
        {
            // It grew once more before the next one was begun.
            return true;
        }

        if (!Log.Memory.TryMove(_chunk, out ChangeChunk? next))
        {
            IsLost = true;
            return false;
        }

        _chunk = next;
        _offset = 0;
        return true;
    }
}
