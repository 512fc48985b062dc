using System.Diagnostics;
using System.IO.MemoryMappedFiles;

namespace KeyVa.Fuzz;

/// <summary>
/// Keeps the seed that is worked at in a file outside the process, which stays if the process ends with it; and ends the
/// process itself if an input never comes back. One thread begins inputs.
/// </summary>
internal sealed class InputWatch : IDisposable
{
    private const int Digits = 10;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    private readonly string _name;
    private readonly string _path;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly Timer _timer;
    private long _begun = Stopwatch.GetTimestamp();
    private int _seed;

    public InputWatch(string name)
    {
        _name = name;
        _path = Path.Combine(Path.GetTempPath(), $"keyva-fuzz-{Environment.ProcessId}-{name}.seed");
        _file = MemoryMappedFile.CreateFromFile(_path, FileMode.Create, null, Digits);
        _view = _file.CreateViewAccessor(0, Digits);
        _timer = new Timer(static watch => ((InputWatch)watch!).Look(), this, Patience, Patience / 6);
    }

    public void Begin(int seed)
    {
        Volatile.Write(ref _begun, Stopwatch.GetTimestamp());
        _seed = seed;
        for (int i = Digits - 1; i >= 0; i--)
        {
            _view.Write(i, (byte)('0' + (seed % 10)));
            seed /= 10;
        }
    }

    public void Dispose()
    {
        _timer.Dispose();
        _view.Dispose();
        _file.Dispose();
        File.Delete(_path);
    }

    private void Look()
    {
        if (Stopwatch.GetElapsedTime(Volatile.Read(ref _begun)) > Patience)
        {
            Environment.FailFast($"{_name}: seed {_seed} has no end (KEYVA_FUZZ_SEED={_seed} KEYVA_FUZZ_ITERATIONS=1)");
        }
    }
}
