# {{name}} in Hyper-V, with its console on the pipe \\.\pipe\{{name}}. As an administrator, in this folder.
New-VM -Name {{name}} -Generation 1 -MemoryStartupBytes {{mib}}MB -VHDPath (Resolve-Path {{disk}})
Set-VMComPort -VMName {{name}} -Number 1 -Path \\.\pipe\{{name}}
Start-VM -Name {{name}}
