using System.Runtime.InteropServices;

namespace KeyVa.Cli;

/// <summary>
/// Ctrl-C and SIGTERM. The first one asks the running command to stop; it has a little time to do so. A second one, or the
/// end of that time, ends the process. Signals come on threads of their own; the state is under a lock.
/// </summary>
internal sealed class Interrupts : IDisposable
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(3);

    private readonly Lock _lock = new();
    private readonly PosixSignalRegistration? _interrupt;
    private readonly PosixSignalRegistration? _terminate;
    private CancellationTokenSource _command = new();
    private Timer? _end;
    private bool _isPatient;

    /// <summary>Listens to the process's signals, or to none.</summary>
    public Interrupts(bool listen)
    {
        if (listen)
        {
            _interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
            _terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        }
    }

    /// <summary>Cancelled when the running command shall stop.</summary>
    public CancellationToken Token
    {
        get
        {
            lock (_lock)
            {
                return _command.Token;
            }
        }
    }

    /// <summary>Begins a new command, which earlier signals do not concern.</summary>
    public CancellationToken Begin()
    {
        lock (_lock)
        {
            if (_command.IsCancellationRequested)
            {
                _end?.Dispose();
                _end = null;
                _command.Dispose();
                _command = new CancellationTokenSource();
            }

            return _command.Token;
        }
    }

    /// <summary>Gives the running command all the time it needs to stop: a server closes its store.</summary>
    public void BePatient()
    {
        lock (_lock)
        {
            _isPatient = true;
        }
    }

    public void Dispose()
    {
        _interrupt?.Dispose();
        _terminate?.Dispose();
        _end?.Dispose();
        _command.Dispose();
    }

    private void OnSignal(PosixSignalContext context)
    {
        CancellationTokenSource command;
        lock (_lock)
        {
            if (_command.IsCancellationRequested)
            {
                return;
            }

            context.Cancel = true;
            command = _command;
            if (!_isPatient)
            {
                _end = new Timer(static _ => Environment.Exit(ExitCode.Interrupted), null, Grace, Timeout.InfiniteTimeSpan);
            }
        }

        command.Cancel();
    }
}
